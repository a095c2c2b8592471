-- Which of pg_net's requests were ours: its table of answers does not say who asked, and those of others are not ours to delete.
-- Unlogged, as pg_net's tables are: a crash empties them together. Times are the server's, as pg_net's are.
create unlogged table if not exists messenger.wakeups (
  request_id bigint not null,
  at timestamptz not null default pg_catalog.now(),
  constraint wakeups_pkey primary key (request_id)
);

comment on table messenger.wakeups is 'Requests given to pg_net within the last hours, by the id net.http_post answered.';

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
comment on table messenger.wakeup_locks is 'One row per queue that was woken lately, locked by the transaction that sends its wake-up, so that others need not send one. Made by the tick.';
comment on column messenger.wakeup_locks.made_at is 'When the row was made; it is pruned a day later and made again when needed.';
alter table messenger.wakeup_locks enable row level security;
drop policy if exists service_only on messenger.wakeup_locks;
create policy service_only on messenger.wakeup_locks for all to anon, authenticated using (false) with check (false);
revoke all on messenger.wakeup_locks from public, anon, authenticated, service_role;
