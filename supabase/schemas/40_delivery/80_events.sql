-- Events of messages, stored in the transaction that decides the outcome. An event for a subscriber is a message
-- itself.

-- Notifies signed-in senders by Supabase Realtime, if the project has it. A notification may be lost, and must not
-- prevent the outcome: signed-in users can lock Realtime's table, so the wait is limited. Definer, because other roles
-- have no access to Realtime's schema.
create or replace function messenger.announce(ids uuid[], events text[])
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
declare
  v_send regprocedure := to_regprocedure('realtime.send(jsonb,text,text,boolean)');
begin
  if v_send is null then
    return;
  end if;
  execute format($send$
    select %s(
      jsonb_build_object('id', m.id, 'type', m.message_type, 'event', e.event,
        'status', case e.event when 'completed' then 'completed' when 'retried' then 'pending' else 'failed' end),
      e.event, 'messenger:' || m.created_by, true)
    from public.messenger_messages m cross join unnest($2) as e(event)
    where m.id = any ($1)$send$, v_send::regproc) using ids, events;
exception when others then
  raise log 'symphony: realtime.send failed, the senders were not notified: %', sqlerrm;
end $$;

-- Inserted directly and not dispatched: nobody may dispatch the bus's own types, and while a transport is disabled
-- outcomes still count and their events wait. Definer, because an event's function runs with the rights of the owner of
-- the bus: only the owner may write its message (messenger.guard_own_types).
create or replace function messenger.store_events(event text, events text[], ids uuid[], at timestamptz)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_event text := event;
  v_events text[] := events;
  v_has_webhooks boolean;
begin
  with stored as (
    insert into public.messenger_messages as m
      (queue_name, message_type, body, available_at, created_at, updated_at, max_retries)
    select e.queue_name, e.message_type, e.body, store_events.at, store_events.at, store_events.at,
      coalesce(k.max_retries, 3)
    from (
      select
        case s.kind when 'webhook' then 'webhooks' else 'events' end as queue_name,
        case s.kind when 'webhook' then 'symphony.webhook' else 'symphony.event' end as message_type,
        jsonb_build_object('subscription', s.id, 'event', s.event, 'at', store_events.at, 'message', jsonb_build_object(
          'id', x.id, 'type', x.message_type, 'transport', x.transport_name, 'queue', x.queue_name,
          'status', case v_event when 'completed' then 'completed' when 'retried' then 'pending' else 'failed' end,
          -- A lost lease is counted by the claim that follows.
          'retry_count', x.retry_count + (v_event = 'retried' and x.status = 'processing')::int,
          'error_class', case when v_event <> 'completed' then coalesce(a.error_class, x.error_class) end,
          'error', case when v_event <> 'completed' then messenger.clip(coalesce(a.error, x.last_error), 1000) end,
          'created_at', x.created_at, 'processed_at', case when v_event <> 'retried' then store_events.at end,
          'created_by', x.created_by)) as body
      from public.messenger_messages x
      join messenger.subscriptions s on s.enabled and s.event = any (v_events)
        and coalesce(s.message_type = x.message_type, true)
      left join messenger.attempts a on v_event = 'retried' and a.message_id = x.id and a.fence = x.fence
      where x.id = any (ids) and not starts_with(x.message_type, 'symphony.')
    ) e
    left join messenger.message_types k on k.type = e.message_type
    returning m.transport_name, m.message_type
  ),
  measured as (
    insert into messenger.measurements (at, transport_name, message_type, kind)
    select store_events.at, t.transport_name, t.message_type, 'dispatched' from stored t
  )
  select bool_or(t.message_type = 'symphony.webhook') into v_has_webhooks from stored t;
  return coalesce(v_has_webhooks, false);
end $$;

-- Called before completed messages are written, as they may be deleted immediately, and after all others are. The
-- caller holds their locks and an outcome counts once, so each event is stored once: an idempotency key would only
-- suppress the event of a message that was retried from the dead letters.
create or replace function messenger.emit(event text, ids uuid[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_events text[] := case event when 'dead' then '{dead,failed}'::text[] else array[event] end;
  v_senders uuid[];
begin
  if ids = '{}' then
    return;
  end if;
  if exists (select from messenger.subscriptions) then
    if messenger.store_events(event, v_events, ids, at) then
      perform messenger.wake_worker('supabase', 'webhooks', 'symphony.webhook');
    end if;
  end if;

  v_senders := array(
    select m.id from public.messenger_messages m
    where m.id = any (ids) and m.created_by is not null and not starts_with(m.message_type, 'symphony.'));
  if v_senders <> '{}' then
    perform messenger.announce(v_senders, v_events);
  end if;
end $$;

comment on function messenger.announce(uuid[], text[]) is
  'Sends {"id", "type", "status", "event"} to the private Realtime topic messenger:<user> of each message''s sender. '
  'Never raises.';
comment on function messenger.emit(text, uuid[], timestamptz) is
  'Stores a message for each subscriber to an event (completed, retried, failed, or dead, which implies failed) of '
  'these messages, and notifies the senders who are users. The bus''s own messages, of types symphony.*, have no '
  'events.';
comment on function messenger.store_events(text, text[], uuid[], timestamptz) is
  'Stores a message for each subscriber to one of these events of these messages. Returns true if one of them is for a '
  'webhook.';
revoke all on function
  messenger.announce(uuid[], text[]),
  messenger.store_events(text, text[], uuid[], timestamptz),
  messenger.emit(text, uuid[], timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.announce(uuid[], text[]),
  messenger.store_events(text, text[], uuid[], timestamptz),
  messenger.emit(text, uuid[], timestamptz)
to service_role;
