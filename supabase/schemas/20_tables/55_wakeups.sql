-- Requests of the bus to pg_net. Its table of responses does not name the requester, and the responses of others must
-- not be deleted.
-- Unlogged, as pg_net's tables are: a crash empties them together. Times are the server's, as pg_net's are.
create unlogged table if not exists messenger.wakeups (
  request_id bigint not null,
  at timestamptz not null default pg_catalog.now(),
  constraint wakeups_pkey primary key (request_id)
);

comment on table messenger.wakeups is 'Requests given to pg_net within the last hours.';
comment on column messenger.wakeups.request_id is 'Id that net.http_post returned.';
comment on column messenger.wakeups.at is 'When the request was made, by the clock of the server.';

alter table messenger.wakeups enable row level security;
drop policy if exists service_only on messenger.wakeups;
create policy service_only on messenger.wakeups for all to anon, authenticated using (false) with check (false);
revoke all on messenger.wakeups from public, anon, authenticated, service_role;

create table if not exists messenger.wakeup_locks (
  transport_name text not null,
  queue_name text not null,
  made_at timestamptz not null default messenger.now(),
  constraint wakeup_locks_pkey primary key (transport_name, queue_name)
);
comment on table messenger.wakeup_locks is
  'One row per recently woken queue, locked by the transaction that sends its wake-up, so that others need not send '
  'one. Created by the tick.';
comment on column messenger.wakeup_locks.transport_name is 'Transport of the queue.';
comment on column messenger.wakeup_locks.queue_name is 'The queue.';
comment on column messenger.wakeup_locks.made_at is
  'When the row was created; it is pruned a day later and created again on demand.';
alter table messenger.wakeup_locks enable row level security;
drop policy if exists service_only on messenger.wakeup_locks;
create policy service_only on messenger.wakeup_locks for all to anon, authenticated using (false) with check (false);
revoke all on messenger.wakeup_locks from public, anon, authenticated, service_role;
