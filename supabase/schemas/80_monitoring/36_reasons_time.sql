-- Reasons of messages that are not due yet, or that have expired.
create or replace function messenger.make_due(id uuid)
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    'update messenger_messages set available_at = messenger.now() where id = %L and status = ''pending''', make_due.id)
$$;

-- A failed delivery leaves an attempt with the fence of the message; a snooze leaves none.
create or replace function messenger.reason_delayed(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 30, 'delayed',
    format('not before %s', messenger.moment(message.available_at, at))
      || case when replay.id is null then ', as it was dispatched'
        else format(': retried from the dead letters at %s per second', replay.per_second) end,
    messenger.make_due(message.id)
  from (select) one
  left join (
    select r.id, r.per_second from messenger.replays r join messenger.replayed x on x.replay_id = r.id
      and x.message_id = message.id and x.fence = message.fence
    where r.finished_at is null limit 1
  ) replay on true
  where message.status = 'pending' and message.available_at > at and message.available_at < 'infinity'
    and (message.fence = 0 or replay.id is not null)
$$;

create or replace function messenger.reason_backing_off(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 30, 'backing_off',
    format('delivery %s of %s failed at %s: %s: %s; the next one is due at %s',
      message.retry_count, message.max_retries + 1, messenger.moment(a.at, reason_backing_off.at),
      a.error_class, left(coalesce(a.error, 'no text'), 300),
      messenger.moment(message.available_at, reason_backing_off.at)),
    messenger.make_due(message.id)
  from messenger.attempts a
  where a.message_id = message.id and a.fence = message.fence
    and message.status = 'pending' and message.available_at > reason_backing_off.at
    and message.available_at < 'infinity'
$$;

create or replace function messenger.reason_snoozed(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 30, 'snoozed', format('snoozed by delivery %s: not before %s', message.fence,
    messenger.moment(message.available_at, at)), messenger.make_due(message.id)
  where message.status = 'pending' and message.available_at > at and message.available_at < 'infinity'
    and message.fence > 0
    and not exists (select from messenger.attempts a where a.message_id = message.id and a.fence = message.fence)
    and not exists (
      select from messenger.replays r join messenger.replayed x on x.replay_id = r.id and x.message_id = message.id
        and x.fence = message.fence
      where r.finished_at is null)
$$;

create or replace function messenger.reason_expires(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when message.expires_at > at
    and (message.available_at < message.expires_at or message.available_at = 'infinity') then 110 else 25 end,
    'expires',
    case when message.expires_at <= at then format('expired at %s: the next claim or tick finishes it as expired',
      messenger.moment(message.expires_at, at))
      else format('expires at %s', messenger.moment(message.expires_at, at))
        || case when message.available_at >= message.expires_at and message.available_at < 'infinity'
          then ', before it becomes due' else ', unless a worker has claimed it by then' end end,
    format('update messenger_messages set expires_at = null where id = %L and processed_at is null', message.id)
  where messenger.is_waiting(message, at) and message.expires_at is not null
$$;

comment on function messenger.make_due(uuid) is 'SQL that makes a pending message due immediately.';
comment on function messenger.reason_delayed(public.messenger_messages, timestamptz) is
  'Reason: it was dispatched with a delay, or its retry from the dead letters is due later.';
comment on function messenger.reason_backing_off(public.messenger_messages, timestamptz) is
  'Reason: its last delivery failed, and the next one is due later.';
comment on function messenger.reason_snoozed(public.messenger_messages, timestamptz) is
  'Reason: its handler snoozed it.';
comment on function messenger.reason_expires(public.messenger_messages, timestamptz) is
  'Reason: it has expired, or expires before it is due; otherwise additional information.';
revoke all on function
  messenger.make_due(uuid),
  messenger.reason_delayed(public.messenger_messages, timestamptz),
  messenger.reason_backing_off(public.messenger_messages, timestamptz),
  messenger.reason_snoozed(public.messenger_messages, timestamptz),
  messenger.reason_expires(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;
