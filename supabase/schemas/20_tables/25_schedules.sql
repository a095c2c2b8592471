-- Schedules: messages to dispatch repeatedly, with the next time, and the ledger of past dispatches.
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

comment on table public.messenger_schedules is 'Schedules by name. Written by messenger_schedule and by the ticker.';
comment on column public.messenger_schedules.id is 'Random UUID of the schedule.';
comment on column public.messenger_schedules.name is 'Unique name, 1 to 128 characters.';
comment on column public.messenger_schedules.message_type is 'Type of the dispatched messages.';
comment on column public.messenger_schedules.transport_name is 'Transport of the dispatched messages.';
comment on column public.messenger_schedules.queue_name is 'Queue of the dispatched messages.';
comment on column public.messenger_schedules.body is 'Payload of the dispatched messages.';
comment on column public.messenger_schedules.headers is 'Headers of the dispatched messages.';
comment on column public.messenger_schedules.schedule_type is 'once, cron or interval.';
comment on column public.messenger_schedules.schedule_config is
  '{"cron": "*/5 9-17 * * mon-fri"} | {"interval": 60000, "startAt"?} (ms) | {"at": "2030-01-31T09:00:00Z"}';
comment on column public.messenger_schedules.timezone is 'IANA name; cron fields are local times of this zone.';
comment on column public.messenger_schedules.next_run_at is
  'The next due time; after an error the time of the next attempt; null if no run is left.';
comment on column public.messenger_schedules.last_run_at is
  'The due time of the last dispatched message; no earlier time runs again. Null: none was dispatched.';
comment on column public.messenger_schedules.run_count is 'Number of messages stored.';
comment on column public.messenger_schedules.max_runs is
  'Number of messages after which the schedule ends; null: no limit.';
comment on column public.messenger_schedules.enabled is 'False: it is disabled or has ended.';
comment on column public.messenger_schedules.starts_at is 'No run is due before this time; null: no limit.';
comment on column public.messenger_schedules.ends_at is 'No run is due after this time; null: no limit.';
comment on column public.messenger_schedules.misfire is
  'If several runs are due: fire_once dispatches the latest, catch_up the latest catch_up_limit, skip those that are '
  'late by at most misfire_grace_ms.';
comment on column public.messenger_schedules.misfire_grace_ms is
  'Milliseconds by which a run may be late with misfire skip.';
comment on column public.messenger_schedules.catch_up_limit is
  'Largest number of due runs that misfire catch_up dispatches, at most 1000.';
comment on column public.messenger_schedules.dst_gap is
  'Cron times that the change to summer time skips: run_after dispatches after the gap, skip does not dispatch.';
comment on column public.messenger_schedules.dst_overlap is
  'Cron times that occur twice at the change from summer time: first, second or both.';
comment on column public.messenger_schedules.overlap is
  'If the previous message is unfinished: allow dispatches another, skip does not, replace cancels the previous one.';
comment on column public.messenger_schedules.jitter_ms is
  'Milliseconds: a message becomes available up to this much after its due time, always by the same amount for the '
  'same due time.';
comment on column public.messenger_schedules.last_error is
  'Error of the last attempt to dispatch; null if it succeeded.';
comment on column public.messenger_schedules.created_at is 'When the schedule was created.';
comment on column public.messenger_schedules.updated_at is 'When the row was last changed.';

create index if not exists messenger_schedules_due_idx on public.messenger_schedules (next_run_at) where enabled;
-- For pruning of schedules of type once that have run.
create index if not exists messenger_schedules_fired_idx
on public.messenger_schedules (updated_at, id) where schedule_type = 'once' and not enabled;

-- No foreign keys: rows remain after their schedule until they are pruned, and a schedule is deleted without visiting
-- them.
create table if not exists messenger.occurrences (
  schedule_id uuid not null,
  due_at timestamptz not null,
  message_id uuid not null,
  constraint occurrences_pkey primary key (schedule_id, due_at)
);
comment on table messenger.occurrences is
  'The ledger: the message that was dispatched for a due time of a schedule, at most one. Kept for 7 days, and while '
  'the message is unfinished.';
comment on column messenger.occurrences.schedule_id is 'Id of the schedule, which may have been deleted.';
comment on column messenger.occurrences.due_at is 'The due time, without jitter.';
comment on column messenger.occurrences.message_id is 'Id of the message, which may have been pruned.';
create index if not exists occurrences_due_at_idx on messenger.occurrences (due_at, schedule_id);

create table if not exists messenger.schedule_backoffs (
  schedule_id uuid not null,
  due_at timestamptz not null,
  constraint schedule_backoffs_pkey primary key (schedule_id)
);
comment on table messenger.schedule_backoffs is 'Schedules that failed to dispatch and are attempted again later.';
comment on column messenger.schedule_backoffs.schedule_id is 'Id of the schedule.';
comment on column messenger.schedule_backoffs.due_at is
  'The due time that failed, while next_run_at holds the time of the next attempt.';

create or replace function public.update_messenger_schedules_updated_at()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := messenger.now();
  return new;
end $$;
comment on function public.update_messenger_schedules_updated_at() is
  'Trigger function: sets updated_at if the statement has not set it.';

create or replace trigger messenger_schedules_updated_at
before update on public.messenger_schedules
for each row when (new.updated_at is not distinct from old.updated_at)
execute function public.update_messenger_schedules_updated_at();

alter table public.messenger_schedules enable row level security;
drop policy if exists service_only on public.messenger_schedules;
create policy service_only on public.messenger_schedules
for all to anon, authenticated using (false) with check (false);
alter table messenger.occurrences enable row level security;
alter table messenger.schedule_backoffs enable row level security;
drop policy if exists service_only on messenger.occurrences;
create policy service_only on messenger.occurrences for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.schedule_backoffs;
create policy service_only on messenger.schedule_backoffs
for all to anon, authenticated using (false) with check (false);
revoke all on
  public.messenger_schedules,
  messenger.occurrences,
  messenger.schedule_backoffs
from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.messenger_schedules, messenger.schedule_backoffs to service_role;
grant select on messenger.occurrences to service_role;
revoke all on function public.update_messenger_schedules_updated_at() from public, anon, authenticated, service_role;
