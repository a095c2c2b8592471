-- What happened, in figures: per minute, per hour and ever, by transport and type. Written by the clock alone.
create table if not exists messenger.metrics (
  step_seconds int not null,
  at timestamptz not null,
  transport_name text not null,
  message_type text not null,
  dispatched bigint not null default 0,
  completed bigint not null default 0,
  retried bigint not null default 0,
  dead bigint not null default 0,
  duration_ms double precision not null default 0,
  durations bigint[] not null default '{}',
  wait_count bigint not null default 0,
  waited_ms double precision not null default 0,
  constraint metrics_pkey primary key (step_seconds, at, transport_name, message_type),
  constraint metrics_step_check check (step_seconds in (0, 60, 3600))
)
with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);

create table if not exists messenger.metric_errors (
  step_seconds int not null,
  at timestamptz not null,
  message_type text not null,
  error_class text not null,
  error_count bigint not null,
  error text,
  last_at timestamptz not null,
  constraint metric_errors_pkey primary key (step_seconds, at, message_type, error_class),
  constraint metric_errors_step_check check (step_seconds in (60, 3600))
)
with (fillfactor = 70);

comment on table messenger.metrics is 'Figures of a minute (step_seconds 60, kept for two days), of an hour (3600, kept for 90 days) and of all time (0, at -infinity). Types after the first 500 count as (other).';
comment on column messenger.metrics.at is 'Start of the minute or hour.';
comment on column messenger.metrics.durations is 'Deliveries by duration: the first of at most 104 elements up to 1 ms, each limit 2^(1/4) times the one before, the last without limit.';
comment on column messenger.metrics.duration_ms is 'Sum of the durations, of as many deliveries as durations holds.';
comment on column messenger.metrics.waited_ms is 'Sum of the waits of wait_count deliveries, from when a message was due until it was handed out.';
comment on table messenger.metric_errors is 'Failed deliveries of a minute and of an hour by type and error class, at most 100 of them; the rest of the hour counts as (other).';
comment on column messenger.metric_errors.error is 'The newest text, its first 200 characters.';

alter table messenger.metrics enable row level security;
alter table messenger.metric_errors enable row level security;
drop policy if exists service_only on messenger.metrics;
create policy service_only on messenger.metrics for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.metric_errors;
create policy service_only on messenger.metric_errors for all to anon, authenticated using (false) with check (false);
revoke all on messenger.metrics, messenger.metric_errors from public, anon, authenticated, service_role;
grant select on messenger.metrics, messenger.metric_errors to service_role;
