-- Reasons of messages that have finished.
create or replace function messenger.dispatch_again(id uuid)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('select d.* from messenger_messages m, messenger_dispatch(m.message_type, m.body, queue => '
    'm.queue_name, priority => m.priority, '
    'ordering_key => m.ordering_key, transport => m.transport_name, max_retries => m.max_retries, metadata => '
    'm.metadata) d where m.id = %L', dispatch_again.id)
$$;

create or replace function messenger.reason_completed(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'completed', format('completed at %s with delivery %s', messenger.moment(message.processed_at, at),
    message.retry_count + 1), null
  where message.status = 'completed'
$$;

create or replace function messenger.reason_failed(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'failed',
    format('failed permanently at %s after %s deliveries: %s: %s', messenger.moment(message.processed_at, at),
      message.retry_count, coalesce(message.error_class, 'Error'),
      left(coalesce(message.last_error, 'no text'), 300))
      || case when f.id is null then '; it has no open dead letter' else '; dead letter ' || f.id end,
    case when f.id is null then messenger.dispatch_again(message.id)
      else format('select * from messenger_retry_failed(array[%L::uuid])', f.id) end
  from (select) one
  left join public.messenger_failed_messages f on f.message_id = message.id and f.resolved_at is null
  where message.status = 'failed' and coalesce(message.error_class, '') not in ('Expired', 'Cancelled', 'Discarded')
    and not (message.error_class = 'InvalidPayload' and message.created_by is not null and f.id is null)
$$;

create or replace function messenger.reason_invalid_payload(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'invalid_payload',
    format('its payload does not match the schema of its type: %s; it was dispatched by a user, so it failed at %s '
      'without a dead letter',
      left(coalesce(message.last_error, 'no text'), 300), messenger.moment(message.processed_at, at)),
    'correct the payload in the user''s application, and dispatch a new message'
  where message.status = 'failed' and message.error_class = 'InvalidPayload' and message.created_by is not null
    and not exists (select from public.messenger_failed_messages f where f.message_id = message.id
      and f.resolved_at is null)
$$;

create or replace function messenger.reason_expired(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'expired', format('expired at %s without having been handled', messenger.moment(message.expires_at, at)),
    messenger.dispatch_again(message.id)
  where message.status = 'failed' and message.error_class = 'Expired'
$$;

create or replace function messenger.reason_cancelled(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'cancelled', format('cancelled at %s', messenger.moment(message.processed_at, at)),
    messenger.dispatch_again(message.id)
  where message.status = 'failed' and message.error_class = 'Cancelled'
$$;

create or replace function messenger.reason_discarded(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 10, 'discarded',
    format('failed permanently at %s (%s), and its dead letter was discarded',
      messenger.moment(message.processed_at, at), left(coalesce(message.last_error, 'no text'), 300)),
    messenger.dispatch_again(message.id)
  where message.status = 'failed' and message.error_class = 'Discarded'
$$;

comment on function messenger.dispatch_again(uuid) is
  'SQL that dispatches a copy of a message without its idempotency key, delay, expiry and headers.';
comment on function messenger.reason_completed(public.messenger_messages, timestamptz) is
  'Reason: the message is completed.';
comment on function messenger.reason_failed(public.messenger_messages, timestamptz) is
  'Reason: the message has used all its retries, or failed permanently.';
comment on function messenger.reason_invalid_payload(public.messenger_messages, timestamptz) is
  'Reason: a user dispatched it with a payload that does not match the schema of its type.';
comment on function messenger.reason_expired(public.messenger_messages, timestamptz) is
  'Reason: the message expired before it was handled.';
comment on function messenger.reason_cancelled(public.messenger_messages, timestamptz) is
  'Reason: the message was cancelled.';
comment on function messenger.reason_discarded(public.messenger_messages, timestamptz) is
  'Reason: the message failed, and its dead letter was discarded.';
revoke all on function
  messenger.dispatch_again(uuid),
  messenger.reason_completed(public.messenger_messages, timestamptz),
  messenger.reason_failed(public.messenger_messages, timestamptz),
  messenger.reason_expired(public.messenger_messages, timestamptz),
  messenger.reason_cancelled(public.messenger_messages, timestamptz),
  messenger.reason_discarded(public.messenger_messages, timestamptz),
  messenger.reason_invalid_payload(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;
