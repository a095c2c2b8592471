-- Reasons of due messages that no worker takes, and of those that are about to be taken.

-- A worker for a type registered by code may be idle: it gets ten seconds to poll.
create or replace function messenger.reason_no_handler(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_others text;
begin
  if not messenger.is_handed_out(message, at)
    or exists (select from messenger.sql_handlers() h where h.type = message.message_type)
    or messenger.active_workers(message.transport_name, message.queue_name, message.message_type, '1 minute') > 0 then
    return;
  end if;
  select string_agg(format('%s (transport %s, queues %s, types %s)', w.worker, coalesce(w.transport_name, 'any'),
    coalesce(array_to_string(w.queues, ' '), 'any'),
    coalesce(left(array_to_string(w.types, ' '), 200), 'any')), ', ') into v_others
  from (
    select x.* from messenger.workers x
    where x.polled_at > reason_no_handler.at - interval '1 minute' and x.polled_at <= reason_no_handler.at
      and x.worker !~ '^sql-[0-9]+$'
    order by x.polled_at desc limit 5
  ) w;
  if v_others is not null and message.available_at < at - interval '10 seconds'
    or not exists (select from messenger.message_types k where message.message_type = any (k.type || k.aliases)) then
    return query select 50, 'no_handler',
      format('no worker of the last minute takes type %s from queue %s of transport %s; ',
        quote_ident(message.message_type), message.queue_name, message.transport_name)
        || coalesce('active workers: ' || v_others, 'no code has registered the type')
        || '; define the type in a pack (packs/) and deploy it (locally, saving the file is enough)',
      'supabase functions deploy worker';
  end if;
end $$;

create or replace function messenger.reason_sql_handler_gone(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 50, 'sql_handler_gone',
    format('its SQL handler %s(jsonb) does not exist, or its result type or owner is wrong; set it again, or set null '
      'so that workers handle the type', k.sql_handler),
    format('select messenger.set_sql_handler(%L, null)', k.type)
  from messenger.sql_handlers() h
  join messenger.message_types k on h.type = any (k.type || k.aliases) and k.sql_handler is not null
  where h.type = message.message_type and h.handler is null and messenger.is_waiting(message, at)
$$;

-- An active worker needs no ticker. Without one, the ticker must wake a worker or run the SQL handler.
create or replace function messenger.reason_clock_stopped(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_last timestamptz := (select c.last_tick_at from messenger.clock c);
  v_fault record;
begin
  if messenger.is_waiting(message, at) and messenger.is_ticker_stopped(at) then
    select * into v_fault from messenger.ticker_fault();
    return query select
      case when messenger.active_workers(message.transport_name, message.queue_name, message.message_type,
        '5 seconds') > 0
        and not exists (select from messenger.sql_handlers() h where h.type = message.message_type) then 105
          else 55 end,
      'clock_stopped', coalesce('the last tick was at ' || messenger.moment(v_last, at), 'the ticker has never run')
        || ': ' || v_fault.cause, v_fault.remedy;
  end if;
end $$;

-- An edge worker polls while it finds messages and for a few seconds more; after that a wake-up must start one.
create or replace function messenger.needs_wakeup(message public.messenger_messages, at timestamptz)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select messenger.is_handed_out(message, at)
    and not exists (select from messenger.sql_handlers() h where h.type = message.message_type)
    and messenger.active_workers(message.transport_name, message.queue_name, message.message_type, '5 seconds') = 0
$$;

create or replace function messenger.reason_no_wakeups(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not messenger.needs_wakeup(message, at) then
    return;
  elsif not exists (select from messenger.settings s where s.functions_url is not null) then
    return query select 60, 'no_wakeups', 'no worker polls, and none can be woken: there is no functions URL',
      'select messenger_start(''https://<project>.supabase.co/functions/v1'')';
  elsif to_regclass('net.http_request_queue') is null then
    return query select 60, 'no_wakeups', 'no worker polls, and none can be woken: there is no pg_net',
      'create extension pg_net';
  elsif not messenger.has_worker_secret() then
    return query select 60, 'no_wakeups',
      'no worker polls, and none can be woken: the worker secret is not in Vault, or cannot be decrypted',
        'select messenger_start()';
  end if;
end $$;

create or replace function messenger.reason_worker_unreachable(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wakeups record;
  v_reply record;
  v_fault text;
begin
  if not messenger.needs_wakeup(message, at) then
    return;
  end if;
  select count(*) as stuck, min(b.sent_at) as since into v_wakeups from messenger.wakeup_responses('1 hour') b
  where b.is_queued and b.sent_at < pg_catalog.now() - interval '10 seconds';
  if v_wakeups.stuck > 0 then
    return query select 61, 'worker_unreachable', format('pg_net has not sent %s wake-ups, the oldest queued at %s',
      v_wakeups.stuck, messenger.moment(v_wakeups.since, pg_catalog.now())),
      'select net.worker_restart()';
    return;
  end if;
  select * into v_reply from messenger.wakeup_responses('1 hour') b
  where b.answered_at is not null order by b.request_id desc limit 1;
  if v_reply.has_failed then
    v_fault := case
      when v_reply.status_code in (401, 403) then 'secret'
      when v_reply.status_code = 404 then 'missing'
      when v_reply.status_code is null and v_reply.error collate "C" !~* 'time' then 'address'
      else 'worker'
    end;
    return query select 61, 'worker_unreachable',
      format('the last wake-up (%s/worker) was answered %s at %s: %s',
        (select s.functions_url from messenger.settings s),
        coalesce('HTTP ' || v_reply.status_code, left(quote_literal(v_reply.error), 300)),
        messenger.moment(v_reply.answered_at, pg_catalog.now()),
        case v_fault
          when 'secret' then 'the worker''s secret differs from the one in Vault'
          when 'missing' then 'the worker is not deployed there, or the functions URL is wrong'
          when 'address' then 'the functions URL is not reachable'
          else 'see the worker''s log'
        end),
      case v_fault
        when 'secret' then 'supabase secrets unset SYMPHONY_WORKER_SECRET'
        when 'missing' then 'supabase functions deploy worker'
        when 'address' then 'select messenger_start(''https://<project>.supabase.co/functions/v1'')'
        else messenger.call_worker()
      end;
  end if;
end $$;

create or replace function messenger.reason_no_worker(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wakeup record;
  v_reply text;
begin
  if not messenger.needs_wakeup(message, at) or exists (select from messenger.reason_no_wakeups(message, at))
    or exists (select from messenger.reason_worker_unreachable(message, at))
    or exists (select from messenger.reason_no_handler(message, at)) then
    return;
  end if;
  select * into v_wakeup from messenger.wakeup_responses('1 hour') b order by b.request_id desc limit 1;
  v_reply := case when v_wakeup.request_id is null then 'no wake-up was sent within the last hour'
    else format('the last wake-up was sent at %s and ', messenger.moment(v_wakeup.sent_at, pg_catalog.now()))
      || coalesce('got HTTP ' || v_wakeup.status_code, 'has no response yet') end;
  return query select case when v_wakeup.sent_at > pg_catalog.now() - interval '5 seconds' then 70 else 62 end,
    'no_worker', format('no worker has polled its queue for its type within 5 s; %s', v_reply), messenger.call_worker();
end $$;

create or replace function messenger.reason_ready(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_active int := messenger.active_workers(message.transport_name, message.queue_name, message.message_type,
    '5 seconds');
  v_has_handler boolean := exists (select from messenger.sql_handlers() h where h.type = message.message_type
    and h.handler is not null);
begin
  if not messenger.is_handed_out(message, at) or messenger.due_before(message, at) > 0 then
    return;
  elsif v_has_handler and not messenger.is_ticker_stopped(reason_ready.at) then
    return query select 90, 'ready', format('due since %s and first in its queue: its SQL handler runs within a second',
      messenger.moment(message.available_at, at)), null::text;
  elsif v_active > 0 and not v_has_handler then
    return query select 90, 'ready',
      format('due since %s and first in its queue; workers that polled for its type within 5 s: %s',
        messenger.moment(message.available_at, at), v_active), null::text;
  end if;
end $$;

comment on function messenger.reason_no_handler(public.messenger_messages, timestamptz) is
  'Reason: no active worker takes its type, or no code has registered the type.';
comment on function messenger.reason_sql_handler_gone(public.messenger_messages, timestamptz) is
  'Reason: its type has an SQL handler that cannot be called.';
comment on function messenger.reason_clock_stopped(public.messenger_messages, timestamptz) is
  'Reason: the ticker is stopped. Additional information while a worker polls.';
comment on function messenger.needs_wakeup(public.messenger_messages, timestamptz) is
  'True if the message is due and no worker polls for it.';
comment on function messenger.reason_no_wakeups(public.messenger_messages, timestamptz) is
  'Reason: no worker polls, and wake-ups cannot be sent.';
comment on function messenger.reason_worker_unreachable(public.messenger_messages, timestamptz) is
  'Reason: the last wake-up failed, or pg_net does not send wake-ups.';
comment on function messenger.reason_no_worker(public.messenger_messages, timestamptz) is
  'Reason: no worker polls for it, although wake-ups are sent and received.';
comment on function messenger.reason_ready(public.messenger_messages, timestamptz) is 'Nothing delays the message.';
revoke all on function
  messenger.reason_no_handler(public.messenger_messages, timestamptz),
  messenger.reason_sql_handler_gone(public.messenger_messages, timestamptz),
  messenger.reason_clock_stopped(public.messenger_messages, timestamptz),
  messenger.needs_wakeup(public.messenger_messages, timestamptz),
  messenger.reason_no_wakeups(public.messenger_messages, timestamptz),
  messenger.reason_worker_unreachable(public.messenger_messages, timestamptz),
  messenger.reason_no_worker(public.messenger_messages, timestamptz),
  messenger.reason_ready(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;
