-- Who is told how messages fare: functions of this database, and webhooks.
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
  -- So that a migration may subscribe again and again.
  constraint subscriptions_key unique nulls not distinct (event, message_type, function_name, url),
  constraint subscriptions_event_check check (event in ('completed', 'failed', 'dead', 'retried')),
  constraint subscriptions_message_type_check check (message_type ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$' and not starts_with(message_type, 'symphony.')),
  constraint subscriptions_target_check check (num_nonnulls(function_name, url) = 1 and (url is null) = (secret_name is null)),
  constraint subscriptions_secret_name_check check (starts_with(secret_name, 'symphony_webhook_')),
  constraint subscriptions_disabled_check check (not enabled or disabled_reason is null)
);

comment on table messenger.subscriptions is 'Made by messenger.on and messenger.on_webhook, removed by messenger.off.';
comment on column messenger.subscriptions.event is 'completed, retried (a delivery ended badly, another follows), dead (it became a dead letter), failed (it ended without completion: dead, expired or cancelled).';
comment on column messenger.subscriptions.message_type is 'Only of messages of this type; null: of all but the bus''s own.';
comment on column messenger.subscriptions.secret_name is 'Name in Vault of the secret the webhook is signed with; under the name with _next its successor, while both sign.';
comment on column messenger.subscriptions.disabled_reason is 'Why nothing is sent any more: the receiver answered 410 Gone.';

alter table messenger.subscriptions enable row level security;
drop policy if exists service_only on messenger.subscriptions;
create policy service_only on messenger.subscriptions for all to anon, authenticated using (false) with check (false);
revoke all on messenger.subscriptions from public, anon, authenticated, service_role;
-- What a outcome needs to know. Where the events go is nobody's business but the owner's.
grant select (id, event, message_type, kind, enabled) on messenger.subscriptions to service_role;
