-- Paused queues. A queue exists once a dispatch names it; a queue without a row here is not paused.
create table if not exists messenger.queues (
  transport_name text not null,
  queue_name text not null,
  paused_at timestamptz,
  resumed_at timestamptz,
  constraint queues_pkey primary key (transport_name, queue_name)
);

comment on table messenger.queues is 'Queues that are paused or have been paused.';
comment on column messenger.queues.transport_name is 'Transport of the queue.';
comment on column messenger.queues.queue_name is 'The queue.';
comment on column messenger.queues.paused_at is 'Since when no message is handed out; null: the queue is not paused.';
comment on column messenger.queues.resumed_at is 'When the queue was last resumed; null: never.';

alter table messenger.queues enable row level security;
drop policy if exists service_only on messenger.queues;
create policy service_only on messenger.queues for all to anon, authenticated using (false) with check (false);
revoke all on messenger.queues from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.queues to service_role;
