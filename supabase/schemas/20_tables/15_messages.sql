-- The queue: every message from dispatch until pruning. The row is the truth.
create table if not exists public.messenger_messages (
  id uuid not null default messenger.new_id(),
  transport_name text not null default 'supabase',
  queue_name text not null default 'default',
  message_type text not null,
  body jsonb not null default '{}',
  headers jsonb not null default '{}',
  metadata jsonb not null default '{}',
  priority int not null default 5,
  status text not null default 'pending',
  scheduled_at timestamptz,
  available_at timestamptz not null default messenger.now(),
  expires_at timestamptz,
  created_at timestamptz not null default messenger.now(),
  processed_at timestamptz,
  updated_at timestamptz not null default messenger.now(),
  retry_count int not null default 0,
  max_retries int not null default 3,
  last_error text,
  error_class text,
  fence bigint not null default 0,
  locked_at timestamptz,
  locked_by text,
  lock_expires_at timestamptz,
  lease_losses int not null default 0,
  cancel_requested_at timestamptz,
  idempotency_key text,
  ordering_key text,
  ordering_seq bigint,
  result jsonb,
  progress jsonb,
  created_by uuid,
  unrouted text[],
  constraint messenger_messages_pkey primary key (id),
  constraint messenger_messages_body_check check (jsonb_typeof(body) = 'object'),
  constraint messenger_messages_priority_check check (priority between 1 and 10),
  constraint messenger_messages_status_check check (status in ('pending', 'processing', 'completed', 'failed')),
  constraint messenger_messages_processed_check check ((processed_at is null) = (status in ('pending', 'processing'))),
  constraint messenger_messages_lease_check check (
    num_nonnulls(locked_at, locked_by, lock_expires_at) = case status when 'processing' then 3 else 0 end
  ),
  constraint messenger_messages_deliveries_check check (
    max_retries between 0 and 100 and retry_count between 0 and max_retries + 1 and fence >= retry_count and lease_losses >= 0
  )
)
-- Fillfactor 50 leaves room on the page for the claim's HOT update: 16.4 us server CPU a message against 25.4 at 100.
-- A cost delay of 0 spins while some transaction holds a snapshot.
with (
  fillfactor = 50,
  autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1
);

comment on table public.messenger_messages is 'Messages: pending -> processing -> completed | pending (retry, snooze, release) | failed. Written only by the messenger functions.';
comment on column public.messenger_messages.id is 'Time-ordered uuid, version 7; also the idempotency key for effects outside the database.';
comment on column public.messenger_messages.priority is '1 to 10, 10 first.';
comment on column public.messenger_messages.scheduled_at is 'The moment asked for at dispatch, when there was one.';
comment on column public.messenger_messages.available_at is 'Not handed out before; infinity while it waits for its predecessor of the same ordering key.';
comment on column public.messenger_messages.processed_at is 'When it finished; null exactly while pending or processing.';
comment on column public.messenger_messages.retry_count is 'Deliveries that ended badly, lease expiry included.';
comment on column public.messenger_messages.fence is 'Rises with every claim. A outcome counts only with the current fence.';
comment on column public.messenger_messages.lease_losses is 'Deliveries that ended by lease expiry since the last ordinary outcome; above zero the message is handed out alone.';
comment on column public.messenger_messages.idempotency_key is 'The key it was dispatched with; null again once the key has passed on to a younger message.';
comment on column public.messenger_messages.ordering_key is 'Of the messages of one transport, queue and key one is in flight, in the order of ordering_seq.';
comment on column public.messenger_messages.result is 'What the handler returned, at most 64 KB, else a marker.';
comment on column public.messenger_messages.created_by is 'The signed-in user of the transaction that dispatched it (messenger.caller_id()); null for services and for subjects that are not UUIDs.';
comment on column public.messenger_messages.unrouted is 'Which of queue, priority and max_retries the dispatch left open, while its type was not registered; null otherwise and once the type''s are applied.';

-- Numbers are drawn under the lock of the ordering key, so within a key they rise as its transactions commit; gaps mean nothing.
create sequence if not exists messenger.ordering_seq;
comment on sequence messenger.ordering_seq is 'The order of dispatch of messages with an ordering key.';
-- Only locked, never changed: whoever dispatches to a key holds its row until its transaction ends. Rows and not advisory locks: any role
-- can take those, they fill the server's lock table (20,000 keys in one transaction), and two keys may share one.
create table if not exists messenger.ordering_keys (
  transport_name text not null,
  queue_name text not null,
  ordering_key text not null,
  check_at timestamptz not null,
  constraint ordering_keys_pkey primary key (transport_name, queue_name, ordering_key)
);
comment on table messenger.ordering_keys is 'Ordering keys in use, one row per key to be locked by dispatches; pruned once no message of the key is unfinished.';
comment on column messenger.ordering_keys.check_at is 'When pruning looks at it next: an hour after it was made or was last found in use.';
create index if not exists ordering_keys_check_at_idx on messenger.ordering_keys (check_at);
alter table messenger.ordering_keys enable row level security;
drop policy if exists service_only on messenger.ordering_keys;
create policy service_only on messenger.ordering_keys for all to anon, authenticated using (false) with check (false);
revoke all on messenger.ordering_keys from public, anon, authenticated, service_role;
grant select, insert, update on messenger.ordering_keys to service_role;

do $$
begin
  if to_regtype('messenger.order_key') is null then
    create type messenger.order_key as (transport_name text, queue_name text, ordering_key text);
  end if;
end $$;
comment on type messenger.order_key is 'An ordering key with the queue it counts in.';

-- The one hot index. Neither its columns nor its predicate hold anything a claim changes, so a claim is a HOT update and writes no index.
create index if not exists messenger_messages_claim_idx
on public.messenger_messages (transport_name, queue_name, priority, available_at, id) where processed_at is null;
-- Partial on ordering_key: messages without one are in neither.
create index if not exists messenger_messages_ordering_idx
on public.messenger_messages (transport_name, queue_name, ordering_key, ordering_seq) where ordering_key is not null and processed_at is null;
create index if not exists messenger_messages_waiting_idx
on public.messenger_messages (transport_name, queue_name, ordering_key)
where ordering_key is not null and processed_at is null and available_at = 'infinity';
-- Partial on unrouted: messages of registered types are not in it.
create index if not exists messenger_messages_unrouted_idx
on public.messenger_messages (message_type) where unrouted is not null and processed_at is null;
-- Partial on created_by: messages of services are in neither.
create index if not exists messenger_messages_sender_idx
on public.messenger_messages (created_by, id) where created_by is not null;
create index if not exists messenger_messages_sender_unfinished_idx
on public.messenger_messages (created_by) where created_by is not null and processed_at is null;

create or replace function public.update_messenger_messages_updated_at()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := messenger.now();
  return new;
end $$;
comment on function public.update_messenger_messages_updated_at() is 'Sets updated_at where the statement did not.';

-- The functions of the hot path set updated_at themselves and never call it: the call costs 7 percent.
create or replace trigger messenger_messages_updated_at
before update on public.messenger_messages
for each row when (new.updated_at is not distinct from old.updated_at)
execute function public.update_messenger_messages_updated_at();

-- Messages of the bus's own types are handled as its owner or signed in its name, so their content is the owner's to write: not even service_role,
-- which has the table, can forge one. The conditions keep both triggers off every other message, and off claims and outcomes.
create or replace function messenger.guard_own_types()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not pg_has_role(current_user, (select c.relowner from pg_catalog.pg_class c where c.oid = tg_relid), 'usage') then
    perform messenger.raise_error('SM_TYPE_FORBIDDEN', new.message_type);
  end if;
  return new;
end $$;
comment on function messenger.guard_own_types() is 'Rejects messages of types symphony.* that are not written as the owner of the bus.';
revoke all on function messenger.guard_own_types() from public, anon, authenticated, service_role;

create or replace trigger messenger_messages_own_types_insert
before insert on public.messenger_messages
for each row when (starts_with(new.message_type, 'symphony.'))
execute function messenger.guard_own_types();

create or replace trigger messenger_messages_own_types_update
before update of message_type, body, headers on public.messenger_messages
for each row when (
  starts_with(new.message_type, 'symphony.')
  and (new.message_type, new.body, new.headers) is distinct from (old.message_type, old.body, old.headers))
execute function messenger.guard_own_types();

alter table public.messenger_messages enable row level security;
drop policy if exists sender_reads_own on public.messenger_messages;
create policy sender_reads_own on public.messenger_messages for select to authenticated using (created_by = (select auth.uid()));
revoke all on public.messenger_messages, messenger.ordering_seq from public, anon, authenticated, service_role;
grant usage on messenger.ordering_seq to service_role;
grant select, insert, update, delete on public.messenger_messages to service_role;
-- Never last_error, headers, metadata, locked_by: they may speak of the inside.
grant select (id, message_type, status, progress, result, created_at, available_at, processed_at) on public.messenger_messages to authenticated;
revoke all on function public.update_messenger_messages_updated_at() from public, anon, authenticated, service_role;
