-- Reasons of messages that wait for another one of their ordering key.
create or replace function messenger.reason_ordering_key(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_first record;
  v_before bigint;
begin
  if message.status <> 'pending' or message.available_at < 'infinity' or message.ordering_key is null then
    return;
  end if;
  select m.id, m.status, m.available_at, m.locked_by, m.locked_at into v_first from public.messenger_messages m
  where m.transport_name = message.transport_name and m.queue_name = message.queue_name
    and m.ordering_key = message.ordering_key and m.processed_at is null
  order by m.ordering_seq, m.available_at, m.id
  limit 1;
  if v_first.id <> message.id then
    select count(*) into v_before
    from (
      select from public.messenger_messages m
      where m.transport_name = message.transport_name and m.queue_name = message.queue_name
        and m.ordering_key = message.ordering_key and m.processed_at is null
        and m.ordering_seq <= message.ordering_seq and m.id <> message.id
      limit 10001
    ) x;
    return query select 30, 'ordering_key',
      format('waits for %s earlier messages of its ordering key %s; the first is %s, which %s',
        case when v_before > 10000 then 'more than 10000' else v_before::text end,
        quote_literal(message.ordering_key), v_first.id,
        case when v_first.status = 'processing' then format('worker %s has been running since %s',
          quote_ident(v_first.locked_by), messenger.moment(v_first.locked_at, at))
          when v_first.available_at = 'infinity' then 'is blocked itself'
          else 'becomes due at ' || messenger.moment(v_first.available_at, at) end),
      format('select * from messenger_explain(%L)', v_first.id);
  elsif not messenger.is_held_by_dead_letter(message.transport_name, message.queue_name, message.ordering_key) then
    -- Its predecessor finished while it was stored, or it was stored under repeatable read or serializable.
    return query select 30, 'ordering_key',
      format('no earlier message of ordering key %s is unfinished: the next tick unblocks it',
        quote_literal(message.ordering_key)),
      'select messenger_tick()';
  end if;
end $$;

create or replace function messenger.reason_ordering_dead_letter(message public.messenger_messages, at timestamptz)
returns setof messenger.reason
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 29, 'ordering_dead_letter',
    format('the dead letter %s of its ordering key %s (failed at %s) blocks it, because transport %s has '
      'ordering_dead_letter = block; retry or discard the dead letter', f.id, quote_literal(message.ordering_key),
      messenger.moment(f.failed_at, at), message.transport_name),
    format('select * from messenger_retry_failed(array[%L::uuid])', f.id)
  from public.messenger_transports t
  join public.messenger_failed_messages f on f.transport_name = t.name and f.queue_name = message.queue_name
    and f.resolved_at is null
  join public.messenger_messages m on m.id = f.message_id and m.ordering_key = message.ordering_key
  where t.name = message.transport_name and t.config ->> 'ordering_dead_letter' = 'block'
    and message.status = 'pending' and message.available_at = 'infinity'
  order by m.ordering_seq
  limit 1
$$;

comment on function messenger.reason_ordering_key(public.messenger_messages, timestamptz) is
  'Reason: an earlier message of its ordering key has not finished.';
comment on function messenger.reason_ordering_dead_letter(public.messenger_messages, timestamptz) is
  'Reason: a dead letter blocks its ordering key, because the transport is configured so.';
revoke all on function
  messenger.reason_ordering_key(public.messenger_messages, timestamptz),
  messenger.reason_ordering_dead_letter(public.messenger_messages, timestamptz)
from public, anon, authenticated, service_role;
