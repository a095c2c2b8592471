-- Which message a key stands for. A table of its own: a key outlives its message when the window is longer than the retention.
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
  'A key holds while its message is unfinished or an open dead letter, and until expires_at. Scope: the user''s id, or service, so that nobody sees or squats another''s keys.';
comment on column messenger.idempotency_keys.fingerprint is 'Digest of the payload: the same key for another type, queue or, where the mode asks for it, payload is rejected.';

create index if not exists idempotency_keys_expires_at_idx on messenger.idempotency_keys (expires_at);

alter table messenger.idempotency_keys enable row level security;
drop policy if exists service_only on messenger.idempotency_keys;
create policy service_only on messenger.idempotency_keys for all to anon, authenticated using (false) with check (false);
revoke all on messenger.idempotency_keys from public, anon, authenticated, service_role;
grant select, insert, update, delete on messenger.idempotency_keys to service_role;
