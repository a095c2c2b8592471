-- Settings of the installation, the ticker's heartbeat, and the number of pruned messages.
create table if not exists messenger.settings (
  singleton boolean not null default true,
  functions_url text,
  clock_enabled boolean not null default false,
  clock_changed_at timestamptz,
  max_workers int not null default 4,
  messages_per_worker int not null default 100,
  poll_interval interval not null default '50 ms',
  max_unfinished_per_user int not null default 1000,
  constraint settings_pkey primary key (singleton),
  constraint settings_singleton_check check (singleton),
  constraint settings_functions_url_check check (functions_url ~ '^https?://[^\s]+[^/\s]$'),
  constraint settings_numbers_check check (
    max_workers between 1 and 100 and messages_per_worker between 1 and 100000
    and poll_interval between '1 ms' and '1 minute' and max_unfinished_per_user >= 0
  )
);
comment on table messenger.settings is
  'One row, created and changed by messenger_start; without it the defaults of the columns apply.';
comment on column messenger.settings.singleton is 'Always true: the table has at most one row.';
comment on column messenger.settings.functions_url is
  'Base URL of the edge functions, without a slash at the end; null: no wake-ups are sent.';
comment on column messenger.settings.clock_enabled is
  'Whether messenger_start (true) or messenger_stop (false) was called last.';
comment on column messenger.settings.clock_changed_at is 'When the ticker was last started or stopped; null: never.';
comment on column messenger.settings.max_workers is 'Largest number of workers that ticks keep active.';
comment on column messenger.settings.messages_per_worker is
  'Number of due messages for which one more worker is woken, up to max_workers.';
comment on column messenger.settings.poll_interval is 'Time between two polls of an idle worker.';
comment on column messenger.settings.max_unfinished_per_user is
  'Largest number of unfinished messages and open dead letters per user.';

create table if not exists messenger.clock (
  singleton boolean not null default true,
  last_tick_at timestamptz,
  ticks bigint not null default 0,
  last_error text,
  last_error_at timestamptz,
  unregistered_wakeup_at timestamptz,
  order_after messenger.order_key,
  roll_up_tail bigint not null default 0,
  roll_up_sweep bigint not null default 0,
  constraint clock_pkey primary key (singleton),
  constraint clock_singleton_check check (singleton)
) with (fillfactor = 10);
comment on table messenger.clock is 'One row: the heartbeat of the ticker, and where its scans stopped.';
comment on column messenger.clock.singleton is 'Always true: the table has at most one row.';
comment on column messenger.clock.last_tick_at is 'When the last tick began; null: none.';
comment on column messenger.clock.ticks is 'Number of ticks.';
comment on column messenger.clock.last_error is
  'Newest error of a step of a tick, preceded by the name of the step; null: none.';
comment on column messenger.clock.last_error_at is 'When that error occurred; null: never.';
comment on column messenger.clock.unregistered_wakeup_at is
  'When workers were last woken for types that no code has registered, at most once per minute; null: never.';
comment on column messenger.clock.order_after is
  'Ordering key at which the scan for blocked messages stopped; null: it begins at the first key.';
comment on column messenger.clock.roll_up_tail is
  'Block of messenger.measurements from which the next roll-up reads if the table is large.';
comment on column messenger.clock.roll_up_sweep is
  'Block at which the roll-up continues with the rows before roll_up_tail.';

create table if not exists messenger.rescue_cursors (
  transport_name text not null,
  queue_name text not null,
  priority int not null,
  available_at timestamptz not null,
  id uuid not null,
  constraint rescue_cursors_pkey primary key (transport_name, queue_name, priority)
);
comment on table messenger.rescue_cursors is
  'Where the last scan for expired leases stopped, for queues with more due messages than one scan covers.';
comment on column messenger.rescue_cursors.transport_name is 'Transport of the queue.';
comment on column messenger.rescue_cursors.queue_name is 'The queue.';
comment on column messenger.rescue_cursors.priority is 'Priority level that is scanned.';
comment on column messenger.rescue_cursors.available_at is 'available_at of the last message visited.';
comment on column messenger.rescue_cursors.id is 'Id of the last message visited.';

-- Rows are appended by each transaction that deletes messages and rolled up by the ticker: a counter row would be
-- contended. The primary key is for replication: a publication of all tables rejects deletes from a table without one.
create table if not exists messenger.pruned (
  id bigint generated always as identity,
  transport_name text not null,
  message_count bigint not null,
  at timestamptz not null default messenger.now(),
  constraint pruned_pkey primary key (id)
);
comment on table messenger.pruned is 'Numbers of finished messages that were deleted; the figure is their sum.';
comment on column messenger.pruned.id is 'Number of the row.';
comment on column messenger.pruned.transport_name is 'Transport of the deleted messages.';
comment on column messenger.pruned.message_count is 'Number of deleted messages.';
comment on column messenger.pruned.at is 'When they were deleted.';

-- Not called by the migration: a data-only restore contains these rows.
create or replace function messenger.ensure_singletons()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.settings default values on conflict on constraint settings_pkey do nothing;
  insert into messenger.clock default values on conflict on constraint clock_pkey do nothing;
end $$;
comment on function messenger.ensure_singletons() is
  'Creates the rows of messenger.settings and messenger.clock if they are missing.';

alter table messenger.settings enable row level security;
alter table messenger.clock enable row level security;
alter table messenger.rescue_cursors enable row level security;
alter table messenger.pruned enable row level security;
drop policy if exists service_only on messenger.settings;
create policy service_only on messenger.settings for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.clock;
create policy service_only on messenger.clock for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.rescue_cursors;
create policy service_only on messenger.rescue_cursors for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.pruned;
create policy service_only on messenger.pruned for all to anon, authenticated using (false) with check (false);
revoke all on
  messenger.settings,
  messenger.clock,
  messenger.rescue_cursors,
  messenger.pruned
from public, anon, authenticated, service_role;
revoke all on function messenger.ensure_singletons() from public, anon, authenticated, service_role;
grant select on messenger.settings, messenger.clock to service_role;
grant select, insert on messenger.pruned to service_role;
