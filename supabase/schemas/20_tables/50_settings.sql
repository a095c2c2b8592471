-- Settings of the installation, the clock's heartbeat, and the count of what pruning removed.
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
  'One row, made and changed by messenger_start; without it the defaults of the columns are in force.';
comment on column messenger.settings.functions_url is 'Base of the edge functions, without a slash at the end; null: no wake-ups.';
comment on column messenger.settings.clock_changed_at is 'When the clock was last started or stopped.';
comment on column messenger.settings.messages_per_worker is 'Backlog that earns one more worker, up to max_workers.';

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
comment on table messenger.clock is 'One row: the heartbeat of the clock, and where its walks stopped.';
comment on column messenger.clock.roll_up_tail is 'Block of messenger.measurements from which the next roll-up reads, when the table is large; roll_up_sweep: where it goes on with what lies before.';
comment on column messenger.clock.unregistered_wakeup_at is 'When workers were last woken for types no code has registered: at most once a minute.';

create table if not exists messenger.rescue_cursors (
  transport_name text not null,
  queue_name text not null,
  priority int not null,
  available_at timestamptz not null,
  id uuid not null,
  constraint rescue_cursors_pkey primary key (transport_name, queue_name, priority)
);
comment on table messenger.rescue_cursors is 'Where the last look for expired leases stopped, for queues with more due messages than one look takes.';

-- Appended to by whoever deletes messages, rolled up by the clock: a counter row would be fought over.
-- The key is for replication: a publication of all tables rejects deletes from a table without one.
create table if not exists messenger.pruned (
  id bigint generated always as identity,
  transport_name text not null,
  message_count bigint not null,
  at timestamptz not null default messenger.now(),
  constraint pruned_pkey primary key (id)
);
comment on table messenger.pruned is 'How many finished messages were deleted; the sum is what counts.';

-- Not by the migration: a data-only restore brings these rows along.
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
  'Makes the rows of messenger.settings and messenger.clock where they are missing.';

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
revoke all on messenger.settings, messenger.clock, messenger.rescue_cursors, messenger.pruned from public, anon, authenticated, service_role;
revoke all on function messenger.ensure_singletons() from public, anon, authenticated, service_role;
grant select on messenger.settings, messenger.clock to service_role;
grant select, insert on messenger.pruned to service_role;
