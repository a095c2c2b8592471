-- Workers and their last poll: a worker is active if it polled within two poll intervals, or waits for messages.
-- Unlogged: a poll that claims nothing commits without waiting for the disk, and after a crash no worker is active
-- anyway.
create unlogged table if not exists messenger.workers (
  worker text not null,
  transport_name text,
  queues text[],
  types text[],
  started_at timestamptz not null,
  polled_at timestamptz not null,
  active_until timestamptz,
  constraint workers_pkey primary key (worker)
) with (fillfactor = 50);
-- For a table of 0.1.0, or one that an earlier state of this release has created.
alter table messenger.workers add column if not exists active_until timestamptz;

comment on table messenger.workers is 'Workers by name with their last poll.';
comment on column messenger.workers.worker is 'Name of the worker.';
comment on column messenger.workers.transport_name is 'Transport that the worker polls; null: all.';
comment on column messenger.workers.queues is 'Queues that the worker polls; null: all.';
comment on column messenger.workers.types is 'Message types that the worker polls; null: all.';
comment on column messenger.workers.started_at is 'When the worker polled first.';
comment on column messenger.workers.polled_at is 'When the worker polled last, up to 20 ms late.';
comment on column messenger.workers.active_until is
  'End of the wait that the last poll announced, plus 250 ms for the calls before and after it; null: none.';

alter table messenger.workers enable row level security;
drop policy if exists service_only on messenger.workers;
create policy service_only on messenger.workers for all to anon, authenticated using (false) with check (false);
revoke all on messenger.workers from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.workers to service_role;
