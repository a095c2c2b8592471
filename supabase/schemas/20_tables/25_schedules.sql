-- Schedules: what is to be dispatched again and again, and when next; the ledger of what was.
create table if not exists public.messenger_schedules (
  id uuid not null default gen_random_uuid(),
  name text not null,
  message_type text not null,
  transport_name text not null default 'supabase',
  queue_name text not null default 'default',
  body jsonb not null default '{}',
  headers jsonb not null default '{}',
  schedule_type text not null,
  schedule_config jsonb not null,
  timezone text not null default 'UTC',
  next_run_at timestamptz,
  last_run_at timestamptz,
  run_count bigint not null default 0,
  max_runs bigint,
  enabled boolean not null default true,
  starts_at timestamptz,
  ends_at timestamptz,
  misfire text not null default 'fire_once',
  misfire_grace_ms bigint not null default 60000,
  catch_up_limit int not null default 100,
  dst_gap text not null default 'run_after',
  dst_overlap text not null default 'first',
  overlap text not null default 'allow',
  jitter_ms bigint not null default 0,
  last_error text,
  created_at timestamptz not null default messenger.now(),
  updated_at timestamptz not null default messenger.now(),
  constraint messenger_schedules_pkey primary key (id),
  constraint messenger_schedules_name_key unique (name),
  constraint messenger_schedules_body_check check (jsonb_typeof(body) = 'object' and jsonb_typeof(headers) = 'object'),
  constraint messenger_schedules_type_check check (schedule_type in ('once', 'cron', 'interval')),
  constraint messenger_schedules_config_check check (jsonb_typeof(schedule_config) = 'object'),
  constraint messenger_schedules_policies_check check (
    misfire in ('fire_once', 'skip', 'catch_up') and dst_gap in ('run_after', 'skip')
    and dst_overlap in ('first', 'second', 'both') and overlap in ('allow', 'skip', 'replace')
  ),
  constraint messenger_schedules_numbers_check check (
    run_count >= 0 and max_runs > 0 and misfire_grace_ms >= 0 and catch_up_limit >= 1 and jitter_ms >= 0
  )
);

comment on table public.messenger_schedules is 'Schedules by name. Written by messenger_schedule and by the clock.';
comment on column public.messenger_schedules.schedule_config is '{"cron": "*/5 9-17 * * mon-fri"} | {"interval": 60000, "startAt"?} (ms) | {"at": "2030-01-31T09:00:00Z"}';
comment on column public.messenger_schedules.next_run_at is 'The next due moment; after an error when it is tried again; null when nothing is left to run.';
comment on column public.messenger_schedules.last_run_at is 'The due moment of the last message. Nothing earlier runs again.';
comment on column public.messenger_schedules.run_count is 'Messages stored; max_runs ends it.';
comment on column public.messenger_schedules.jitter_ms is 'A message becomes available up to so much later than it is due, the same for the same due moment.';
comment on column public.messenger_schedules.timezone is 'IANA name; cron fields match its wall clock.';

create index if not exists messenger_schedules_due_idx on public.messenger_schedules (next_run_at) where enabled;
-- For pruning: schedules that have fired for good.
create index if not exists messenger_schedules_fired_idx
on public.messenger_schedules (updated_at, id) where schedule_type = 'once' and not enabled;

-- No foreign keys: rows outlive their schedule until pruned, and a schedule can be removed without visiting them.
create table if not exists messenger.occurrences (
  schedule_id uuid not null,
  due_at timestamptz not null,
  message_id uuid not null,
  constraint occurrences_pkey primary key (schedule_id, due_at)
);
comment on table messenger.occurrences is 'The ledger: which message an occurrence of a schedule became. One each, kept for 7 days and while the message is unfinished.';
create index if not exists occurrences_due_at_idx on messenger.occurrences (due_at, schedule_id);

create table if not exists messenger.schedule_backoffs (
  schedule_id uuid not null,
  due_at timestamptz not null,
  constraint schedule_backoffs_pkey primary key (schedule_id)
);
comment on table messenger.schedule_backoffs is 'Schedules that failed: what was due when next_run_at was put off.';

create or replace function public.update_messenger_schedules_updated_at()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := messenger.now();
  return new;
end $$;
comment on function public.update_messenger_schedules_updated_at() is 'Sets updated_at where the statement did not.';

create or replace trigger messenger_schedules_updated_at
before update on public.messenger_schedules
for each row when (new.updated_at is not distinct from old.updated_at)
execute function public.update_messenger_schedules_updated_at();

alter table public.messenger_schedules enable row level security;
drop policy if exists service_only on public.messenger_schedules;
create policy service_only on public.messenger_schedules for all to anon, authenticated using (false) with check (false);
alter table messenger.occurrences enable row level security;
alter table messenger.schedule_backoffs enable row level security;
drop policy if exists service_only on messenger.occurrences;
create policy service_only on messenger.occurrences for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.schedule_backoffs;
create policy service_only on messenger.schedule_backoffs for all to anon, authenticated using (false) with check (false);
revoke all on public.messenger_schedules, messenger.occurrences, messenger.schedule_backoffs from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.messenger_schedules, messenger.schedule_backoffs to service_role;
grant select on messenger.occurrences to service_role;
revoke all on function public.update_messenger_schedules_updated_at() from public, anon, authenticated, service_role;
