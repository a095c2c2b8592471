-- Dead letters: messages that failed finally, with their last 20 failed deliveries. A row stays for its retention after
-- it was retried or discarded.
create table if not exists public.messenger_failed_messages (
  id uuid not null default messenger.new_id(),
  message_id uuid not null,
  transport_name text not null,
  queue_name text not null,
  message_type text not null,
  body jsonb not null,
  headers jsonb not null default '{}',
  metadata jsonb not null default '{}',
  error text,
  error_class text,
  error_trace text,
  attempts jsonb not null default '[]',
  retry_count int not null,
  max_retries int not null,
  failed_at timestamptz not null default messenger.now(),
  created_at timestamptz not null,
  idempotency_key text,
  resolved_at timestamptz,
  resolution text,
  created_by uuid,
  constraint messenger_failed_messages_pkey primary key (id),
  constraint messenger_failed_messages_resolution_check check (
    (resolved_at is null) = (resolution is null) and resolution in ('retried', 'discarded')
  )
);

comment on table public.messenger_failed_messages is
  'Dead letters. Open while resolved_at is null; pruned 30 days (default) after they are resolved.';
comment on column public.messenger_failed_messages.id is
  'Time-ordered UUID of the dead letter, version 7; a message that fails again gets another one.';
comment on column public.messenger_failed_messages.message_id is
  'Id of the message; a plain UUID, because a foreign key costs every delete of a message 25 percent more.';
comment on column public.messenger_failed_messages.transport_name is 'Transport of the message.';
comment on column public.messenger_failed_messages.queue_name is 'Queue of the message.';
comment on column public.messenger_failed_messages.message_type is 'Type of the message.';
comment on column public.messenger_failed_messages.body is 'Payload of the message.';
comment on column public.messenger_failed_messages.headers is 'Headers of the message.';
comment on column public.messenger_failed_messages.metadata is 'Metadata of the message.';
comment on column public.messenger_failed_messages.error is
  'Error text of the last attempt, at most 8 KB; null: none was reported.';
comment on column public.messenger_failed_messages.error_class is 'Error class of the last attempt.';
comment on column public.messenger_failed_messages.error_trace is
  'Stack trace of the last attempt, at most 8 KB; null: none was reported.';
comment on column public.messenger_failed_messages.attempts is
  'The last 20 deliveries, one element per delivery, oldest first: at, worker, error, error_class, duration_ms.';
comment on column public.messenger_failed_messages.retry_count is 'Number of failed deliveries, the last one included.';
comment on column public.messenger_failed_messages.max_retries is 'The limit that the message had.';
comment on column public.messenger_failed_messages.failed_at is 'When the message failed.';
comment on column public.messenger_failed_messages.created_at is 'When the message was dispatched.';
comment on column public.messenger_failed_messages.idempotency_key is 'Idempotency key of the message; null: none.';
comment on column public.messenger_failed_messages.resolved_at is
  'When the dead letter was retried or discarded; null: it is open.';
comment on column public.messenger_failed_messages.resolution is 'retried or discarded; null: it is open.';
comment on column public.messenger_failed_messages.created_by is
  'The user who dispatched the message, whose quota open dead letters count towards; null for services.';

-- At most one open dead letter per message, held by the database.
create unique index if not exists messenger_failed_messages_open_idx
on public.messenger_failed_messages (message_id) where resolved_at is null;
create index if not exists messenger_failed_messages_message_idx
on public.messenger_failed_messages (message_id);
-- Partial: dead letters of services' messages are not in it.
create index if not exists messenger_failed_messages_sender_idx
on public.messenger_failed_messages (created_by) where created_by is not null and resolved_at is null;
create index if not exists messenger_failed_messages_failed_at_idx
on public.messenger_failed_messages (failed_at desc, id);
create index if not exists messenger_failed_messages_resolved_at_idx
on public.messenger_failed_messages (resolved_at, id) where resolved_at is not null;

alter table public.messenger_failed_messages enable row level security;
drop policy if exists service_only on public.messenger_failed_messages;
create policy service_only on public.messenger_failed_messages
for all to anon, authenticated using (false) with check (false);
revoke all on public.messenger_failed_messages from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.messenger_failed_messages to service_role;
