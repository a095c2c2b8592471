-- Resolves dead letters: retries their messages with the same id and history, or discards them.

-- Dead letters are locked in the order of their ids, so two resolutions cannot deadlock. A dead letter that another
-- transaction has just resolved is skipped.
create or replace function messenger.lock_dead_letters(ids uuid[], filter jsonb, max int)
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[] := ids;
  v_max int := coalesce(max, 1000);
  v_invalid text;
  v_from timestamptz;
  v_to timestamptz;
begin
  if (v_ids is null) = (filter is null) then
    perform messenger.raise_error('SM_FILTER', 'name dead letters either by ids or by a filter',
      'pass ids or filter, not both; the filter {} selects all open dead letters');
  elsif v_max not between 1 and 10000 then
    perform messenger.raise_error('SM_BATCH',
      message => 'max must be a number from 1 to 10000',
      remedy => 'default: 1000');
  elsif array_position(v_ids, null) is not null then
    perform messenger.raise_error('SM_FILTER', 'ids must not contain null', 'remove the null from ids');
  elsif cardinality(v_ids) > v_max then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE',
      message => format('more ids than max: ids has %s elements, and max is %s', cardinality(v_ids), v_max),
      remedy => 'pass fewer ids per call, or raise max (up to 10000)');
  elsif jsonb_typeof(filter) <> 'object' then
    perform messenger.raise_error('SM_FILTER', 'the filter must be a JSON object',
      'pass {} to select all open dead letters');
  elsif v_ids is not null then
    return array(select f.id from public.messenger_failed_messages f where f.id = any (v_ids) and f.resolved_at is null
      order by f.id for no key update);
  end if;

  select k into v_invalid from jsonb_object_keys(filter) k
  where k not in ('transport', 'queue', 'type', 'error_class', 'from', 'to') order by k limit 1;
  if found then
    perform messenger.raise_error('SM_UNKNOWN_FIELD', 'filter.' || left(v_invalid, 100),
      'the fields are transport, queue, type, error_class, from and to');
  end if;
  v_from := messenger.read_moment(filter -> 'from');
  v_to := messenger.read_moment(filter -> 'to');
  select f.key into v_invalid from jsonb_each(filter) f
  where jsonb_typeof(f.value) <> 'string' or f.key = 'from' and v_from is null
    or f.key = 'to' and (v_to is null or v_to <= v_from)
  order by f.key limit 1;
  if found then
    perform messenger.raise_error('SM_FILTER', 'filter.' || v_invalid, case
      when v_invalid in ('from', 'to')
        then 'pass an ISO 8601 moment with a zone, for example 2030-01-31T09:00:00Z; to must be later than from'
      else 'pass a string' end);
  end if;
  return array(
    select f.id from public.messenger_failed_messages f
    where f.resolved_at is null
      and (filter ->> 'transport' is null or f.transport_name = filter ->> 'transport')
      and (filter ->> 'queue' is null or f.queue_name = filter ->> 'queue')
      and (filter ->> 'type' is null or f.message_type = filter ->> 'type')
      and (filter ->> 'error_class' is null or f.error_class = filter ->> 'error_class')
      and (v_from is null or f.failed_at >= v_from)
      and (v_to is null or f.failed_at < v_to)
    order by f.id
    limit v_max
    for no key update);
end $$;

create or replace function public.messenger_retry_failed(
  ids uuid[] default null, filter jsonb default null, payload jsonb default null, per_second int default null,
  max int default 1000
)
returns table (id uuid, message_id uuid, outcome text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_ids uuid[] := ids;
  v_code text;
  v_type text;
  v_open uuid[];
  v_kept uuid[];
begin
  perform messenger.require_writable();
  if payload is not null then
    if cardinality(v_ids) is distinct from 1 then
      perform messenger.raise_error('SM_FILTER', 'a payload needs exactly one id', 'pass one id in ids, and no filter');
    end if;
    -- The payload is checked as in a dispatch. Codes about routes are ignored, because no route is given.
    select d.error_code into v_code
    from messenger.read_drafts(jsonb_build_array(jsonb_build_object('type', 'Edited', 'payload', payload)), v_now) d
    where d.error_code in ('SM_PAYLOAD_NOT_OBJECT', 'SM_PAYLOAD_TOO_LARGE', 'SM_NUMBER_RANGE', 'SM_DEPTH');
    if found then
      perform messenger.raise_error(v_code);
    end if;
    select f.message_type into v_type from public.messenger_failed_messages f where f.id = v_ids[1]
      and starts_with(f.message_type, 'symphony.');
    if found then
      perform messenger.raise_error('SM_TYPE_FORBIDDEN', v_type,
        'retry it without a payload: a message of the bus''s own types keeps its payload');
    end if;
  end if;
  if per_second not between 1 and 1000 then
    perform messenger.raise_error('SM_BATCH',
      message => 'per_second must be a number from 1 to 1000',
      remedy => 'leave it out to make all messages due immediately');
  end if;

  v_open := messenger.lock_dead_letters(v_ids, filter, max);
  v_kept := messenger.take_keys_back(v_open, v_now);
  perform messenger.requeue(array(select o from unnest(v_open) o where o <> all (v_kept)), payload, per_second, v_now);

  return query
  select g.id, f.message_id,
    case when f.id is null then 'unknown' when o.id is null or g.nth > 1 then 'resolved'
      when k.id is not null then 'conflict' else 'retried' end
  from (
    select u.id, u.ord, row_number() over (partition by u.id order by u.ord) as nth
    from unnest(coalesce(v_ids, v_open)) with ordinality as u(id, ord)
  ) g
  left join public.messenger_failed_messages f on f.id = g.id
  left join unnest(v_open) o(id) on o.id = g.id
  left join unnest(v_kept) k(id) on k.id = g.id
  order by g.ord;
end $$;

create or replace function public.messenger_discard_failed(
  ids uuid[] default null, filter jsonb default null, max int default 1000
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_open uuid[];
begin
  perform messenger.require_writable();
  v_open := messenger.lock_dead_letters(ids, filter, max);
  update public.messenger_failed_messages f set resolved_at = v_now, resolution = 'discarded' where f.id = any (v_open);
  update public.messenger_messages m set error_class = 'Discarded', updated_at = v_now
  from public.messenger_failed_messages f
  where f.id = any (v_open) and m.id = f.message_id and m.status = 'failed';
  perform messenger.unblock_next(
    messenger.order_keys(
      array(select f.message_id from public.messenger_failed_messages f where f.id = any (v_open))), v_now);
  return cardinality(v_open);
end $$;

comment on function messenger.lock_dead_letters(uuid[], jsonb, int) is
  'Checks ids or filter and locks at most max of the open dead letters they select. Returns their ids in ascending '
  'order. Raises SM_FILTER, SM_BATCH, SM_BATCH_TOO_LARGE, SM_UNKNOWN_FIELD.';
comment on function public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int) is
  'Requeues the messages of dead letters with the same id and idempotency key and a retry count of 0. Select the dead '
  'letters by ids or by filter {"transport"?, "queue"?, "type"?, "error_class"?, "from"?, "to"?}; from (inclusive) and '
  'to (exclusive) apply to failed_at, and {} selects all. payload replaces the body of exactly one id. per_second (1 '
  'to 1000) spreads the retries, which stop if more than a fifth of them fail again (see messenger.replay_report()). '
  'max: 1 to 10000, default 1000. Returns one row per dead letter (id, message_id, outcome): retried; resolved '
  '(already resolved before); unknown (no such dead letter); conflict (another message holds the idempotency key, or '
  'the message is no longer failed; nothing changes). Raises SM_FILTER, SM_BATCH, SM_BATCH_TOO_LARGE, '
  'SM_UNKNOWN_FIELD, SM_TYPE_FORBIDDEN and the payload errors of a dispatch. Example: select * from '
  'messenger_retry_failed(filter => ''{"type": "SendEmail"}'', per_second => 10);';
comment on function public.messenger_discard_failed(uuid[], jsonb, int) is
  'Discards dead letters, selected as in messenger_retry_failed: sets resolution to discarded and the message''s '
  'error_class to Discarded. Returns the number of dead letters discarded. Raises SM_FILTER, SM_BATCH, '
  'SM_BATCH_TOO_LARGE, SM_UNKNOWN_FIELD. Example: select messenger_discard_failed(filter => ''{"queue": "email"}'');';
revoke all on function
  messenger.lock_dead_letters(uuid[], jsonb, int),
  public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int),
  public.messenger_discard_failed(uuid[], jsonb, int)
from public, anon, authenticated;
grant execute on function
  messenger.lock_dead_letters(uuid[], jsonb, int),
  public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int),
  public.messenger_discard_failed(uuid[], jsonb, int)
to service_role;
