-- Metrics per minute, five minutes, hour, day and of all time, by transport and type. Only the ticker writes here.
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
  'Metrics by period, transport and type. Periods of five minutes and days are added up when they are over. Types '
  'after the first 500 count as (other).';
comment on column messenger.metrics.step_seconds is
  'Length of the period: 60 (kept for two days), 300 (two days), 3600 (90 days), 86400 (a day in UTC, 400 days), or 0 '
  'for all time.';
comment on column messenger.metrics.at is 'Start of the period; -infinity for all time.';
comment on column messenger.metrics.transport_name is 'Transport of the messages.';
comment on column messenger.metrics.message_type is 'Type of the messages, or (other).';
comment on column messenger.metrics.dispatched is 'Number of dispatched messages.';
comment on column messenger.metrics.completed is 'Number of completed messages.';
comment on column messenger.metrics.retried is 'Number of failed deliveries that were followed by a retry.';
comment on column messenger.metrics.dead is 'Number of messages that became dead letters.';
comment on column messenger.metrics.duration_ms is
  'Sum of the durations of the deliveries in the histogram, in milliseconds.';
comment on column messenger.metrics.durations is
  'Numbers of deliveries of all time by duration: at most 104 buckets, the first up to 1 ms, each limit 2^(1/4) times '
  'the previous one, the last without limit. Other rows have a histogram instead.';
comment on column messenger.metrics.wait_count is 'Number of deliveries in waited_ms.';
comment on column messenger.metrics.waited_ms is 'Sum of the waits from due to handed out, in milliseconds.';
comment on column messenger.metrics.histogram is
  'The buckets as messenger.pack_histogram packs them, which sum() can add up. Null in rows of release 0.1.0, which '
  'have durations.';
comment on table messenger.metric_errors is
  'Failed deliveries by type and error class, for the periods of messenger.metrics; at most 100 rows per period, the '
  'others count as (other).';
comment on column messenger.metric_errors.step_seconds is 'Length of the period: 60, 300, 3600 or 86400.';
comment on column messenger.metric_errors.at is 'Start of the period.';
comment on column messenger.metric_errors.message_type is 'Type of the messages, or (other).';
comment on column messenger.metric_errors.error_class is 'Class of the errors, or (other).';
comment on column messenger.metric_errors.error_count is 'Number of failed deliveries.';
comment on column messenger.metric_errors.error is 'First 200 characters of the newest error.';
comment on column messenger.metric_errors.last_at is 'When the newest error occurred.';

alter table messenger.metrics enable row level security;
alter table messenger.metric_errors enable row level security;
drop policy if exists service_only on messenger.metrics;
create policy service_only on messenger.metrics for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.metric_errors;
create policy service_only on messenger.metric_errors for all to anon, authenticated using (false) with check (false);
revoke all on messenger.metrics, messenger.metric_errors from public, anon, authenticated, service_role;
grant select on messenger.metrics, messenger.metric_errors to service_role;
