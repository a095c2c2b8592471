-- Reasons of messages whose queue or transport hands nothing out, or that wait for others in their queue.
create or replace function messenger.reason_paused(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 20, 'paused', format('queue %s of transport %s is paused since %s', q.queue_name, q.transport_name,
    messenger.moment(q.paused_at, at)),
    format('select messenger_resume(%L, %L)', q.transport_name, q.queue_name)
  from messenger.queues q
  where q.transport_name = message.transport_name and q.queue_name = message.queue_name and q.paused_at is not null
    and messenger.is_waiting(message, at)
$$;

create or replace function messenger.reason_transport_disabled(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 20, 'transport_disabled', format('transport %s is disabled; it was last changed at %s', t.name,
    messenger.moment(t.updated_at, at)),
    format('update messenger_transports set enabled = true where name = %L', t.name)
  from public.messenger_transports t
  where t.name = message.transport_name and not t.enabled and messenger.is_waiting(message, at)
$$;

create or replace function messenger.reason_transport_missing(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 20, 'transport_missing', format('transport %s does not exist any more', message.transport_name),
    format('insert into messenger_transports (name, type) values (%L, ''supabase'')', message.transport_name)
  where messenger.is_waiting(message, at) and not exists (select from public.messenger_transports t
    where t.name = message.transport_name)
$$;

create or replace function messenger.reason_transport_type(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 20, 'transport_type',
    format('transport %s is of type %s: no worker takes its messages from this database', t.name, t.type),
    format('update messenger_transports set type = ''supabase'' where name = %L', t.name)
  from public.messenger_transports t
  where t.name = message.transport_name and t.type not in ('supabase', 'sync') and messenger.is_waiting(message, at)
$$;

-- Reads one index range per priority, as a claim does. The number of entries is limited, not only the count: processing
-- messages and finished ones that are not vacuumed yet are in the range too.
create or replace function messenger.due_before(message public.messenger_messages, at timestamptz)
returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
  return (
    select count(*) filter (where x.status = 'pending' or x.lock_expires_at < due_before.at)
    from (
      select head.* from generate_series(10, message.priority, -1) as level(priority)
      cross join lateral (
        select m.status, m.lock_expires_at from public.messenger_messages m
        where m.transport_name = message.transport_name and m.queue_name = message.queue_name
          and m.priority = level.priority
          and m.processed_at is null and m.available_at <= due_before.at
          and (m.available_at, m.id)
            < (case when level.priority = message.priority then message.available_at else 'infinity' end, message.id)
        order by m.available_at, m.id
        limit 10001
      ) head
      limit 10001
    ) x
  );
end $$;

create or replace function messenger.reason_waiting_turn(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before bigint;
begin
  if not messenger.is_handed_out(message, at) then
    return;
  end if;
  v_before := messenger.due_before(message, at);
  if v_before > 0 then
    return query select 80, 'waiting_turn',
      format('due messages before it in queue %s of transport %s: %s; workers that polled for its type within 5 s: %s',
        message.queue_name, message.transport_name,
        case when v_before > 10000 then 'more than 10000' else v_before::text end,
        messenger.active_workers(message.transport_name, message.queue_name, message.message_type, '5 seconds')),
      case when message.priority < 10
        then format('update messenger_messages set priority = 10 where id = %L and status = ''pending''', message.id)
        else format('select messenger_start(options => ''{"max_workers": %s}'')',
          (select least(100, 2 * s.max_workers) from messenger.settings s)) end;
  end if;
end $$;

comment on function messenger.reason_paused(public.messenger_messages, timestamptz) is 'Reason: its queue is paused.';
comment on function messenger.reason_transport_disabled(public.messenger_messages, timestamptz) is
  'Reason: its transport is disabled.';
comment on function messenger.reason_transport_missing(public.messenger_messages, timestamptz) is
  'Reason: its transport was deleted.';
comment on function messenger.reason_transport_type(public.messenger_messages, timestamptz) is
  'Reason: its transport is of a type whose messages are not claimed from this database.';
comment on function messenger.due_before(public.messenger_messages, timestamptz) is
  'The number of due messages before it in its queue, among the first 10001 entries of the index.';
comment on function messenger.reason_waiting_turn(public.messenger_messages, timestamptz) is
  'Reason: other messages of its queue come first.';
revoke all on function
  messenger.reason_paused(public.messenger_messages, timestamptz),
  messenger.reason_transport_disabled(public.messenger_messages, timestamptz),
  messenger.reason_transport_missing(public.messenger_messages, timestamptz),
  messenger.reason_transport_type(public.messenger_messages, timestamptz),
  messenger.due_before(public.messenger_messages, timestamptz),
  messenger.reason_waiting_turn(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;
