-- Transports: how messages reach a worker. Secrets are in Vault or the environment, never here.
create table if not exists public.messenger_transports (
  id uuid not null default gen_random_uuid(),
  name text not null,
  type text not null,
  config jsonb not null default '{}',
  enabled boolean not null default true,
  created_at timestamptz not null default messenger.now(),
  updated_at timestamptz not null default messenger.now(),
  constraint messenger_transports_pkey primary key (id),
  constraint messenger_transports_name_key unique (name),
  constraint messenger_transports_name_check check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  constraint messenger_transports_type_check check (type in ('sync', 'supabase', 'redis', 'rabbitmq', 'sqs')),
  -- The pattern matches a number without a unit, as in messenger.read_interval.
  constraint messenger_transports_config_check check (
    jsonb_typeof(config) = 'object'
    and concat_ws('|', config ->> 'retention', config ->> 'failed_retention', config ->> 'idempotency_window')
      !~ '(^|[^0-9:.-])[+-]?[0-9.]*[1-9][0-9.]*(e[+-]?[0-9]+)?\s*(ago\s*)?([|]|$)'
    and coalesce((config ->> 'retention')::interval between '0' and '100 years', true)
    and coalesce((config ->> 'failed_retention')::interval between '0' and '100 years', true)
    and coalesce((config ->> 'idempotency_window')::interval between '0' and '1 year', true)
    and coalesce(config ->> 'ordering_dead_letter' in ('block', 'continue'), true)
  )
);

comment on table public.messenger_transports is
  'Transports by name. Type sync handles a message where it is dispatched; with type supabase this database is the '
  'queue.';
comment on column public.messenger_transports.id is 'Random UUID of the row.';
comment on column public.messenger_transports.name is
  'Unique name, which dispatches and message types refer to: 1 to 63 lower-case letters, digits, underscores or '
  'hyphens.';
comment on column public.messenger_transports.type is 'sync, supabase, redis, rabbitmq or sqs.';
comment on column public.messenger_transports.config is
  'Settings as an object. Intervals are text with a unit: retention of finished messages (default: 7 days; 0 deletes '
  'them on completion), failed_retention of resolved dead letters (default: 30 days), both at most 100 years, and '
  'idempotency_window (default: 24 hours, at most 1 year). ordering_dead_letter: continue (default) or block, by which '
  'an open dead letter blocks its ordering key. No secrets.';
comment on column public.messenger_transports.enabled is
  'False: dispatches to it are rejected and its messages are not handed out.';
comment on column public.messenger_transports.created_at is 'When the row was inserted.';
comment on column public.messenger_transports.updated_at is 'When the row was last changed.';

create or replace function public.update_messenger_transports_updated_at()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := messenger.now();
  return new;
end $$;
comment on function public.update_messenger_transports_updated_at() is
  'Trigger function: sets updated_at if the statement has not set it.';

create or replace trigger messenger_transports_updated_at
before update on public.messenger_transports
for each row when (new.updated_at is not distinct from old.updated_at)
execute function public.update_messenger_transports_updated_at();

create or replace function messenger.ensure_transports()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.messenger_transports (name, type)
  select d.name, d.name from unnest(array['supabase', 'sync']) as d(name)
  where not exists (select from public.messenger_transports t where t.name = d.name)
  on conflict on constraint messenger_transports_name_key do nothing;
end $$;
comment on function messenger.ensure_transports() is 'Creates the transports supabase and sync if they are missing.';

-- A data-only restore inserts rows that the migration has already created. An unchanged row of the migration is deleted
-- in favour of the restored one, whose created_at is older; an ordinary insert takes the default.
create or replace function messenger.give_way_to_restored_transport()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from public.messenger_transports t
  where t.name = new.name and t.id <> new.id and new.created_at < messenger.now() - interval '1 second'
    and t.type = t.name and t.enabled and t.config = '{}';
  return new;
end $$;
comment on function messenger.give_way_to_restored_transport() is
  'Trigger function: deletes the unchanged transport of the migration when its restored row is inserted.';

create or replace trigger messenger_transports_restored
before insert on public.messenger_transports
for each row when (new.name in ('supabase', 'sync'))
execute function messenger.give_way_to_restored_transport();
-- Dumps of the Supabase CLI are restored with session_replication_role = replica, which skips ordinary triggers.
alter table public.messenger_transports enable always trigger messenger_transports_restored;

do $$ begin perform messenger.ensure_transports(); end $$;

alter table public.messenger_transports enable row level security;
drop policy if exists service_only on public.messenger_transports;
create policy service_only on public.messenger_transports
for all to anon, authenticated using (false) with check (false);
revoke all on public.messenger_transports from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.messenger_transports to service_role;
revoke all on function
  messenger.ensure_transports(),
  messenger.give_way_to_restored_transport(),
  public.update_messenger_transports_updated_at()
from public, anon, authenticated, service_role;
