-- Failed deliveries, kept until the message finishes; a dead letter copies them.
create table if not exists messenger.attempts (
  message_id uuid not null,
  fence bigint not null,
  at timestamptz not null,
  worker text,
  error text,
  error_class text,
  error_trace text,
  duration_ms bigint,
  constraint attempts_pkey primary key (message_id, fence)
);

comment on table messenger.attempts is
  'One row per failed delivery. Its fence distinguishes a repeated failure report (already) from a late one (stale).';
comment on column messenger.attempts.message_id is 'Id of the message.';
comment on column messenger.attempts.fence is 'Fencing token of the delivery.';
comment on column messenger.attempts.at is 'When the failure was recorded.';
comment on column messenger.attempts.worker is 'Name of the worker that held the lease.';
comment on column messenger.attempts.error is 'Error text, at most 8 KB.';
comment on column messenger.attempts.error_class is
  'Class of the error, at most 200 characters; LeaseExpired: the lease ran out without an outcome.';
comment on column messenger.attempts.error_trace is 'Stack trace, at most 8 KB; null: none was reported.';
comment on column messenger.attempts.duration_ms is
  'Milliseconds that the handler took as reported, otherwise from claim to outcome.';

alter table messenger.attempts enable row level security;
drop policy if exists service_only on messenger.attempts;
create policy service_only on messenger.attempts for all to anon, authenticated using (false) with check (false);
revoke all on messenger.attempts from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.attempts to service_role;
