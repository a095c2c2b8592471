-- Measurements: dispatch and settle append rows here, and the ticker rolls them up into messenger.metrics. A row covers
-- the messages of one type in one call: a batch of a hundred adds one row. Counter rows would be contended, or grow a
-- chain of versions that every later settle follows while a transaction holds a snapshot.
-- Unlogged: after a crash the figures of the last second are lost, never messages.
create unlogged table if not exists messenger.measurements (
  id bigint generated always as identity,
  at timestamptz not null,
  transport_name text not null,
  message_type text not null,
  kind text not null,
  message_count int not null default 1,
  durations real[],
  wait_count int not null default 0,
  waited interval,
  error_class text,
  error text,
  deleted_count int not null default 0,
  constraint measurements_pkey primary key (id)
)
-- A row exists for about a second.
with (
  fillfactor = 100,
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 1
);
-- A settle has at most 1000 durations, 4 KB: they fit into the row, and compressing them would cost more than the rest
-- of the insert.
alter table messenger.measurements alter column durations set storage plain;

comment on table messenger.measurements is
  'Dispatches and ended deliveries that no tick has rolled up yet: one row per call, transport, type and kind.';
comment on column messenger.measurements.id is 'Number of the row.';
comment on column messenger.measurements.at is 'When the call was made.';
comment on column messenger.measurements.transport_name is 'Transport of the messages.';
comment on column messenger.measurements.message_type is 'Type of the messages.';
comment on column messenger.measurements.kind is 'dispatched, completed, retried or dead.';
comment on column messenger.measurements.message_count is 'Number of messages.';
comment on column messenger.measurements.durations is
  'Milliseconds that the handlers took as reported, otherwise from claim to outcome; null for dispatches and for lost '
  'leases.';
comment on column messenger.measurements.wait_count is
  'Number of deliveries in waited; those after a lost lease are excluded, because the begin of their wait is unknown.';
comment on column messenger.measurements.waited is 'Sum of the times from due to handed out; null: no delivery counts.';
comment on column messenger.measurements.error_class is 'Class of the error, for retried and dead; null otherwise.';
comment on column messenger.measurements.error is
  'First 200 characters of the error, for retried and dead; null otherwise.';
comment on column messenger.measurements.deleted_count is
  'Number of these messages that were deleted on completion; the roll-up adds it to messenger.pruned.';

alter table messenger.measurements enable row level security;
drop policy if exists service_only on messenger.measurements;
create policy service_only on messenger.measurements for all to anon, authenticated using (false) with check (false);
revoke all on messenger.measurements from public, anon, authenticated, service_role;
grant select, insert on messenger.measurements to service_role;

-- Reads the attempts just recorded; the caller still holds the locks of the messages.
create or replace function messenger.measure_failures(kind text, ids uuid[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
  if ids = '{}' then
    return;
  end if;
  insert into messenger.measurements
    (at, transport_name, message_type, kind, message_count, durations, wait_count, waited, error_class, error)
  select at, m.transport_name, m.message_type, kind, 1,
    case when a.error_class <> 'LeaseExpired' then array[least(a.duration_ms, 1e9)::real] end,
    (w.waited is not null)::int, w.waited, a.error_class, left(a.error, 200)
  from public.messenger_messages m
  join messenger.attempts a on a.message_id = m.id and a.fence = m.fence
  cross join lateral (
    select case when m.lease_losses = 0 and a.error_class <> 'LeaseExpired' and m.locked_at > m.available_at
      then m.locked_at - m.available_at end as waited
  ) w
  where m.id = any (ids);
end $$;

comment on function messenger.measure_failures(text, uuid[], timestamptz) is
  'Appends one measurement of this kind, retried or dead, for the newest attempt of each of these messages, which the '
  'caller has locked.';
revoke all on function messenger.measure_failures(text, uuid[], timestamptz) from public, anon, authenticated;
grant execute on function messenger.measure_failures(text, uuid[], timestamptz) to service_role;
