-- Subscriptions to events of messages: functions of this database, and webhooks.
create table if not exists messenger.subscriptions (
  id uuid not null default messenger.new_id(),
  event text not null,
  message_type text,
  function_name text,
  url text,
  secret_name text,
  kind text not null generated always as (case when url is null then 'function' else 'webhook' end) stored,
  enabled boolean not null default true,
  disabled_reason text,
  created_at timestamptz not null default messenger.now(),
  constraint subscriptions_pkey primary key (id),
  -- Makes subscribing idempotent, so that a migration can do it repeatedly.
  constraint subscriptions_key unique nulls not distinct (event, message_type, function_name, url),
  constraint subscriptions_event_check check (event in ('completed', 'failed', 'dead', 'retried')),
  constraint subscriptions_message_type_check check (
    message_type ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$' and not starts_with(message_type, 'symphony.')
  ),
  constraint subscriptions_target_check check (
    num_nonnulls(function_name, url) = 1 and (url is null) = (secret_name is null)
  ),
  constraint subscriptions_secret_name_check check (starts_with(secret_name, 'symphony_webhook_')),
  constraint subscriptions_disabled_check check (not enabled or disabled_reason is null)
);

comment on table messenger.subscriptions is
  'Subscriptions, created by messenger.on and messenger.on_webhook, deleted by messenger.off.';
comment on column messenger.subscriptions.id is 'Time-ordered UUID, version 7, which messenger.off takes.';
comment on column messenger.subscriptions.event is
  'completed, retried (a delivery failed, another follows), dead (it became a dead letter) or failed (it finished '
  'without completion: dead, expired or cancelled).';
comment on column messenger.subscriptions.message_type is
  'Type whose messages have the event; null: all types but the bus''s own.';
comment on column messenger.subscriptions.function_name is
  'Subscribed function as schema.name, which takes and returns jsonb; null for a webhook.';
comment on column messenger.subscriptions.url is 'Subscribed URL; null for a function.';
comment on column messenger.subscriptions.secret_name is
  'Name in Vault of the secret that signs the webhook; during a rotation the secret under this name with _next signs '
  'too. Null for a function.';
comment on column messenger.subscriptions.kind is 'function or webhook.';
comment on column messenger.subscriptions.enabled is 'False: no events are sent.';
comment on column messenger.subscriptions.disabled_reason is
  'Why sending has stopped, for example the receiver replied 410 Gone; null: it has not.';
comment on column messenger.subscriptions.created_at is 'When the subscription was created.';

alter table messenger.subscriptions enable row level security;
drop policy if exists service_only on messenger.subscriptions;
create policy service_only on messenger.subscriptions for all to anon, authenticated using (false) with check (false);
revoke all on messenger.subscriptions from public, anon, authenticated, service_role;
-- The columns that settling an outcome reads. The targets are for the owner only.
grant select (id, event, message_type, kind, enabled) on messenger.subscriptions to service_role;
