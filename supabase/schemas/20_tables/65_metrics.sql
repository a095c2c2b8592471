-- What happened, in figures: per minute, five minutes, hour, day, and of all time, by transport and type. Only the ticker writes here.
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
  histogram numeric,
  constraint metrics_pkey primary key (step_seconds, at, transport_name, message_type),
  constraint metrics_step_check check (step_seconds in (0, 60, 300, 3600, 86400))
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
  constraint metric_errors_step_check check (step_seconds in (60, 300, 3600, 86400))
)
with (fillfactor = 70);

create index if not exists metrics_unpacked_idx on messenger.metrics (at) where step_seconds > 0 and histogram is null;

comment on table messenger.metrics is
  'Figures of a minute (step_seconds 60, kept for two days), of five minutes (300, two days), of an hour (3600, 90 days), of a day in UTC (86400, 400 days) and of all time (0, at -infinity). Five minutes and days are added up once they are over. Types after the first 500 count as (other).';
comment on column messenger.metrics.at is 'Start of the minute, hour or day.';
comment on column messenger.metrics.durations is
  'Deliveries of all time by duration: the first of at most 104 elements up to 1 ms, each limit 2^(1/4) times the one before, the last without limit. Other rows have a histogram instead.';
comment on column messenger.metrics.histogram is 'The same as messenger.pack_histogram writes it, so that sum() adds it up. Null in rows of release 0.1.0, which have durations.';
comment on column messenger.metrics.duration_ms is 'Sum of the durations, of as many deliveries as the histogram has.';
comment on column messenger.metrics.waited_ms is 'Sum of the waits of wait_count deliveries, from when a message was due until it was handed out.';
comment on table messenger.metric_errors is 'Failed deliveries by type and error class, of the same steps as messenger.metrics; at most 100 rows per step, the rest counts as (other).';
comment on column messenger.metric_errors.error is 'The newest text, its first 200 characters.';

alter table messenger.metrics enable row level security;
alter table messenger.metric_errors enable row level security;
drop policy if exists service_only on messenger.metrics;
create policy service_only on messenger.metrics for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.metric_errors;
create policy service_only on messenger.metric_errors for all to anon, authenticated using (false) with check (false);
revoke all on messenger.metrics, messenger.metric_errors from public, anon, authenticated, service_role;
grant select on messenger.metrics, messenger.metric_errors to service_role;
