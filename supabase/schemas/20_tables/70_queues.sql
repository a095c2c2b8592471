-- Settings of single queues. A queue exists by being named in a dispatch; one without a row here runs.
create table if not exists messenger.queues (
  transport_name text not null,
  queue_name text not null,
  paused_at timestamptz,
  resumed_at timestamptz,
  constraint queues_pkey primary key (transport_name, queue_name)
);

comment on table messenger.queues is 'Queues an operator has paused, or has paused before.';
comment on column messenger.queues.paused_at is 'Since when nothing is handed out; null: it runs.';
comment on column messenger.queues.resumed_at is 'When it last began to run again.';

alter table messenger.queues enable row level security;
drop policy if exists service_only on messenger.queues;
create policy service_only on messenger.queues for all to anon, authenticated using (false) with check (false);
revoke all on messenger.queues from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.queues to service_role;
