-- Feature flags with a percentage of subjects, for moving traffic from an old system to this one step by step.
create table if not exists messenger.flags (
  name text not null,
  percent int not null,
  updated_by text,
  updated_at timestamptz not null default messenger.now(),
  constraint flags_pkey primary key (name),
  constraint flags_name_check check (name ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'),
  constraint flags_percent_check check (percent between 0 and 100),
  constraint flags_updated_by_check check (length(updated_by) <= 200)
);
comment on table messenger.flags is
  'Flags by name: the percentage of subjects for which they are on. A flag here '
  'overrides the environment variable of its name.';
comment on column messenger.flags.name is
  'Name of the flag: a letter, then up to 127 letters, digits, dots, colons, underscores or hyphens.';
comment on column messenger.flags.percent is 'Percentage of subjects for which the flag is on, 0 to 100.';
comment on column messenger.flags.updated_by is 'Who set it: the id of a user, or the name of a key; null: unknown.';
comment on column messenger.flags.updated_at is 'When it was set.';

-- A subject's bucket from 0 to 99 depends on the flag and the subject only: a higher percentage adds subjects and
-- removes none, and another flag selects other subjects first.
create or replace function messenger.enabled(flag text, subject text)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(abs(hashtextextended(subject, hashtextextended(f.name, 0)) % 100) < f.percent, f.percent = 100)
    from messenger.flags f where f.name = enabled.flag
  );
end $$;

create or replace function public.messenger_set_flag(name text, percent int, updated_by text default null)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row jsonb;
begin
  perform messenger.require_writable();
  if name is null or name !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$' then
    perform messenger.raise_error('SM_FILTER',
      message => 'the flag name is missing or malformed',
      remedy => 'use a letter, then up to 127 letters, digits, dots, colons, underscores or hyphens');
  elsif percent is null or percent not between 0 and 100 then
    perform messenger.raise_error('SM_BATCH',
      message => 'percent must be a whole number from 0 to 100',
      remedy => '0 turns the flag off, 100 turns it on for all');
  end if;
  insert into messenger.flags as f (name, percent, updated_by, updated_at)
  values (messenger_set_flag.name, messenger_set_flag.percent,
    left(messenger_set_flag.updated_by, 200), messenger.now())
  on conflict on constraint flags_pkey do update set percent = excluded.percent, updated_by = excluded.updated_by,
    updated_at = excluded.updated_at
  returning to_jsonb(f) into v_row;
  return v_row;
end $$;

comment on function messenger.enabled(text, text) is
  'True if the flag is on for the subject. A subject that is on stays on when the percentage is raised. A null subject '
  'is on at 100 percent only. Null if the flag is not set; the environment variable then decides.';
comment on function public.messenger_set_flag(text, int, text) is
  'Sets a flag to a percentage from 0 to 100 and returns {"name", "percent", "updated_by", "updated_at"}. Raises '
  'SM_FILTER for a malformed name, SM_BATCH for another percentage. Example: select '
  'messenger_set_flag(''EMAIL_QUEUE'', 25, ''ops'');';
alter table messenger.flags enable row level security;
drop policy if exists service_only on messenger.flags;
create policy service_only on messenger.flags for all to anon, authenticated using (false) with check (false);
revoke all on messenger.flags from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.flags to service_role;
revoke all on function
  messenger.enabled(text, text),
  public.messenger_set_flag(text, int, text)
from public, anon, authenticated;
grant execute on function messenger.enabled(text, text), public.messenger_set_flag(text, int, text) to service_role;
