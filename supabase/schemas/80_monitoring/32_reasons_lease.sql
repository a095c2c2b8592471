-- Reasons of messages that a worker holds or has lost, or whose row is locked.
create or replace function messenger.reason_running(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 40, 'running',
    format('worker %s has been running it since %s (delivery %s of %s); its lease ends at %s',
      quote_ident(message.locked_by), messenger.moment(message.locked_at, at),
      message.retry_count + 1, message.max_retries + 1, messenger.moment(message.lock_expires_at, at)),
    null
  where message.status = 'processing' and message.lock_expires_at >= at
$$;

create or replace function messenger.reason_lease_lost(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 40, 'lease_lost',
    format('the lease of worker %s expired at %s: the worker stopped, hung or was too slow; ',
      quote_ident(message.locked_by), messenger.moment(message.lock_expires_at, at))
      || case when message.cancel_requested_at is not null then 'the next tick cancels the message, as requested'
        when message.retry_count >= message.max_retries
          then 'this was the last delivery, and the next claim or tick moves it to the dead letters'
        else format('the next claim of its queue takes it as delivery %s of %s, or the next tick requeues it',
          message.retry_count + 2, message.max_retries + 1) end,
    'select messenger_tick()'
  where message.status = 'processing' and message.lock_expires_at < at
$$;

create or replace function messenger.reason_cancel_requested(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 41, 'cancel_requested',
    format('cancellation was requested at %s; the worker is notified with its next heartbeat, and a completion still '
      'counts', messenger.moment(message.cancel_requested_at, at)),
    case when message.lock_expires_at < at then 'select messenger_tick()' end
  where message.status = 'processing' and message.cancel_requested_at is not null
$$;

create or replace function messenger.reason_alone(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 110, 'alone',
    format('its lease expired %s times, so it may have crashed its worker: it is handed out alone, with no other '
      'message in flight', message.lease_losses),
    format('select at, worker, error from messenger.attempts where message_id = %L order by fence', message.id)
  where message.status = 'pending' and message.lease_losses > 0
$$;

-- Claims skip a locked row. Its xmax is then the transaction that holds the lock, if
-- that is still running; reading it takes no lock.
create or replace function messenger.reason_locked(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 35, 'locked',
    format('process %s (%s) has locked its row in a transaction open since %s, so claims skip it', l.pid,
      coalesce(nullif(a.application_name, ''), 'no name'),
      messenger.moment(a.xact_start, pg_catalog.clock_timestamp())),
    format('select pg_terminate_backend(%s, 5000)', l.pid)
  from public.messenger_messages m
  join pg_catalog.pg_locks l on l.locktype = 'transactionid' and l.transactionid = m.xmax and l.granted
  left join pg_catalog.pg_stat_activity a on a.pid = l.pid
  where m.id = message.id and messenger.is_waiting(message, at) and l.pid <> pg_backend_pid()
$$;

comment on function messenger.reason_running(public.messenger_messages, timestamptz) is
  'Reason: a worker is running the message.';
comment on function messenger.reason_lease_lost(public.messenger_messages, timestamptz) is
  'Reason: the lease of its worker has expired, and no other worker has claimed it.';
comment on function messenger.reason_cancel_requested(public.messenger_messages, timestamptz) is
  'Reason: cancellation was requested while a worker runs it.';
comment on function messenger.reason_alone(public.messenger_messages, timestamptz) is
  'Additional information: after a lost lease the message is handed out alone.';
comment on function messenger.reason_locked(public.messenger_messages, timestamptz) is
  'Reason: another transaction holds a lock on its row.';
revoke all on function
  messenger.reason_locked(public.messenger_messages, timestamptz),
  messenger.reason_running(public.messenger_messages, timestamptz),
  messenger.reason_lease_lost(public.messenger_messages, timestamptz),
  messenger.reason_cancel_requested(public.messenger_messages, timestamptz),
  messenger.reason_alone(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;
