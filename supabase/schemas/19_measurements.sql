-- What happened, as it happens: one row for each dispatch and each delivery's end, until the clock folds them into figures.

-- Only ever appended to; the key is for tools that ask for one, nothing looks up by it. A counter row would be fought over; one a session would grow a chain of versions that each later settle walks
-- while any transaction holds a snapshot, and within one transaction that dispatches a hundred thousand times it would be quadratic.
-- Unlogged: a crash of the server loses the last second's figures, never a message.
create unlogged table if not exists messenger.measurements (
  id bigint generated always as identity,
  at timestamptz not null,
  transport_name text not null,
  message_type text not null,
  kind text not null,
  duration_ms double precision,
  locked_at timestamptz,
  available_at timestamptz,
  error_class text,
  error text,
  constraint measurements_pkey primary key (id),
  constraint measurements_kind_check check (kind in ('dispatched', 'completed', 'retried', 'dead'))
)
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_analyze_scale_factor = 1);
comment on table messenger.measurements is 'Dispatches and ends of deliveries not folded yet. What a handler took is duration_ms where its worker told it, else the time since locked_at.';

-- Minutes for two days, then hours; the row of the moment -infinity holds the sums of all time, which never fall.
create table if not exists messenger.metrics (
  minute timestamptz not null,
  transport_name text not null,
  message_type text not null,
  dispatched bigint not null default 0,
  completed bigint not null default 0,
  retried bigint not null default 0,
  dead bigint not null default 0,
  duration_ms_sum double precision not null default 0,
  waited_ms_sum double precision not null default 0,
  constraint metrics_pkey primary key (minute, transport_name, message_type)
);
comment on table messenger.metrics is 'Figures of a minute (after two days: an hour), transport and type. retried: deliveries that ended badly and were tried again; dead: messages that became dead letters.';

create table if not exists messenger.metric_durations (
  minute timestamptz not null,
  transport_name text not null,
  message_type text not null,
  bucket smallint not null,
  deliveries bigint not null,
  constraint metric_durations_pkey primary key (minute, transport_name, message_type, bucket)
);
comment on table messenger.metric_durations is 'How long deliveries took: so many in each bucket. Bucket b ends at 2^(b/4) ms, so a bucket is 19 percent wide; the last one, 106, has no end.';

create table if not exists messenger.metric_errors (
  minute timestamptz not null,
  message_type text not null,
  error_class text not null,
  deliveries bigint not null,
  error text,
  last_at timestamptz not null,
  constraint metric_errors_pkey primary key (minute, message_type, error_class)
);
comment on table messenger.metric_errors is 'Deliveries that ended badly, by class of error, with the newest text (200 characters). Of the classes of one fold the hundred most frequent keep their name.';

create or replace function messenger.duration_bucket(ms double precision)
returns smallint
language sql immutable parallel safe
set search_path = ''
as $$ select case when ms > 1 then least(106, ceil(4 * log(2::numeric, ms::numeric)))::smallint else 0::smallint end $$;
comment on function messenger.duration_bucket(double precision) is 'The bucket of a duration: 0 up to 1 ms, then four for each doubling, 106 above 26 hours.';

alter table messenger.measurements enable row level security;
alter table messenger.metrics enable row level security;
alter table messenger.metric_durations enable row level security;
alter table messenger.metric_errors enable row level security;
drop policy if exists service_only on messenger.measurements;
create policy service_only on messenger.measurements for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.metrics;
create policy service_only on messenger.metrics for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.metric_durations;
create policy service_only on messenger.metric_durations for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.metric_errors;
create policy service_only on messenger.metric_errors for all to anon, authenticated using (false) with check (false);
revoke all on messenger.measurements, messenger.metrics, messenger.metric_durations, messenger.metric_errors from public, anon, authenticated, service_role;
grant select, insert on messenger.measurements to service_role;
grant select on messenger.metrics, messenger.metric_durations, messenger.metric_errors to service_role;
revoke all on function messenger.duration_bucket(double precision) from public, anon, authenticated, service_role;
grant execute on function messenger.duration_bucket(double precision) to service_role;
