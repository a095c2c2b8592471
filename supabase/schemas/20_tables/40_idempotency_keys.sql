-- Idempotency keys and their messages. A table of its own, because a key outlives its message if the window is longer
-- than the retention.
create table if not exists messenger.idempotency_keys (
  scope text not null,
  key text not null,
  message_id uuid not null,
  message_type text not null,
  fingerprint bytea not null,
  transport_name text not null,
  queue_name text not null,
  expires_at timestamptz not null,
  constraint idempotency_keys_pkey primary key (scope, key)
);

comment on table messenger.idempotency_keys is
  'A key is in use while its message is unfinished or an open dead letter, and until expires_at.';
comment on column messenger.idempotency_keys.scope is
  'Id of the user, or service: no caller can read or occupy the keys of another.';
comment on column messenger.idempotency_keys.key is 'The idempotency key, 1 to 255 bytes.';
comment on column messenger.idempotency_keys.message_id is 'Id of the message that the key identifies.';
comment on column messenger.idempotency_keys.message_type is
  'Type of that message; the same key for another type is rejected.';
comment on column messenger.idempotency_keys.fingerprint is
  'SHA-256 of the payload, see messenger.fingerprint; the modes ignore and reschedule reject the same key for another '
  'payload.';
comment on column messenger.idempotency_keys.transport_name is
  'Transport of the message, returned to dispatches of a duplicate.';
comment on column messenger.idempotency_keys.queue_name is
  'Queue of the message; the same key for another queue is rejected.';
comment on column messenger.idempotency_keys.expires_at is 'End of the idempotency window.';

create index if not exists idempotency_keys_expires_at_idx on messenger.idempotency_keys (expires_at);

alter table messenger.idempotency_keys enable row level security;
drop policy if exists service_only on messenger.idempotency_keys;
create policy service_only on messenger.idempotency_keys
for all to anon, authenticated using (false) with check (false);
revoke all on messenger.idempotency_keys from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.idempotency_keys to service_role;
