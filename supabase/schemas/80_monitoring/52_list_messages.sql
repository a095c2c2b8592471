-- Lists messages by page, newest first, and returns a single one in full.

-- Ids begin with milliseconds since 1970, so earlier moments have no ids.
create or replace function messenger.first_id(at timestamptz)
returns uuid
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select (messenger.id_prefix(greatest(at, '1970-01-01 00:00:00+00')) || '0000000000000000')::uuid $$;

-- Only the fields present in the filter become conditions, so that the planner sees them.
create or replace function messenger.message_conditions(filter jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return concat_ws(' and ', 'true',
    case when filter ? 'status' then 'm.status = $1 ->> ''status''' end,
    case when filter ->> 'status' in ('pending', 'processing') then 'm.processed_at is null' end,
    case when filter ? 'type' then 'm.message_type = $1 ->> ''type''' end,
    case when filter ? 'transport' then 'm.transport_name = $1 ->> ''transport''' end,
    case when filter ? 'queue' then 'm.queue_name = $1 ->> ''queue''' end,
    case when filter ? 'error_class' then 'm.error_class = $1 ->> ''error_class''' end,
    case when filter ? 'idempotency_key' then 'm.idempotency_key = $1 ->> ''idempotency_key''' end,
    case when filter ? 'ordering_key' then 'm.ordering_key = $1 ->> ''ordering_key''' end,
    case when filter ? 'created_by' then 'm.created_by = ($1 ->> ''created_by'')::uuid' end,
    case when filter ? 'id' then 'm.id = ($1 ->> ''id'')::uuid' end,
    -- Ids begin with their moment of creation. created_at decides within a margin of a minute.
    case when
      filter ? 'from'
        then 'm.id >= messenger.first_id(($1 ->> ''from'')::timestamptz - interval ''1 minute'') and m.created_at >= '
          '($1 ->> ''from'')::timestamptz' end,
    case when
      filter ? 'to'
        then 'm.id < messenger.first_id(($1 ->> ''to'')::timestamptz + interval ''1 minute'') and m.created_at < ($1 '
          '->> ''to'')::timestamptz' end);
end $$;

-- A filter that few messages match would scan all of them: a call scans this many and returns how far back it got.
create or replace function messenger.scan_limit()
returns int
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 20000 $$;

-- The messages of an idempotency key are found by the key: those older than the scanned range are returned early and
-- excluded from later pages as "shown".
create or replace function messenger.find_messages(
  filter jsonb, before uuid, shown uuid[], wanted int, out ids uuid[], out searched_to uuid, out early uuid[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_conditions text := messenger.message_conditions(filter) || ' and m.id <> all ($5)';
  v_before uuid := coalesce(before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  v_scanned text;
  v_shown uuid[] := coalesce(shown, '{}');
begin
  early := '{}';
  -- Unfinished messages are few beside the finished ones, except for a backlog.
  if filter ->> 'status' in ('pending', 'processing')
     and (
       select count(*) from (
         select from public.messenger_messages m where m.processed_at is null limit messenger.scan_limit() + 1) x
     ) <= messenger.scan_limit() then
    -- Without "offset 0" the planner would scan the primary key with all finished messages.
    execute format('select array(select x.id from (select m.id from public.messenger_messages m where m.processed_at '
      'is null and %s offset 0) x where x.id < $2
      order by x.id desc limit $3)', v_conditions) into ids using filter, v_before, wanted, null, v_shown;
    return;
  end if;

  v_scanned := concat_ws(' and ', 'm.id < $2',
    case when filter ? 'id' then 'm.id = ($1 ->> ''id'')::uuid' end,
    case when filter ? 'created_by' then 'm.created_by = ($1 ->> ''created_by'')::uuid' end,
    case when
      filter ? 'from' then 'm.id >= messenger.first_id(($1 ->> ''from'')::timestamptz - interval ''1 minute'')' end,
    case when filter ? 'to' then 'm.id < messenger.first_id(($1 ->> ''to'')::timestamptz + interval ''1 minute'')' end);
  execute format('select array(select m.id from (select * from public.messenger_messages m where %s order by m.id '
    'desc limit $4) m where %s limit $3)', v_scanned, v_conditions)
  into ids using filter, v_before, wanted, messenger.scan_limit(), v_shown;
  if cardinality(ids) < wanted then
    execute format('select m.id from public.messenger_messages m where %s order by m.id desc offset $3 limit 1',
      v_scanned)
    into searched_to using filter, v_before, messenger.scan_limit() - 1;
  end if;
  if searched_to is not null and filter ? 'idempotency_key' then
    execute format($query$
      select array(
        select m.id from public.messenger_messages m
        where m.id = any (array(select k.message_id from messenger.idempotency_keys k
          where k.key = $1 ->> 'idempotency_key' and k.scope in ('service', $1 ->> 'created_by')))
          and m.id < $2 and %s order by m.id desc limit $3)$query$, v_conditions)
    into early using filter, searched_to, wanted - 1 - cardinality(ids), null, v_shown;
    ids := ids || early;
  end if;
end $$;

create or replace function public.messenger_list_messages(
  filter jsonb default '{}', cursor text default null, max int default 50
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_filter jsonb := coalesce(filter, '{}');
  v_max int := messenger.check_page(coalesce(max, 50));
  v_position uuid[];
  v_page record;
  v_rows jsonb;
  v_last jsonb;
  v_total record;
begin
  perform messenger.check_filter(v_filter, '{status,type,transport,queue,error_class,idempotency_key,ordering_key}',
    '{from,to}', '{}', '{id,created_by}');
  if v_filter ->> 'status' not in ('pending', 'processing', 'completed', 'failed') then
    perform messenger.raise_error('SM_FILTER', 'filter.status must be pending, processing, completed or failed',
      'leave it out to list messages of every status');
  end if;
  -- The id before which the page starts, then the ids that were returned early.
  v_position := array(select p::uuid
    from jsonb_array_elements_text(messenger.read_cursor('messages', v_filter, cursor)) p);
  select f.ids, f.searched_to, f.early into v_page
  from messenger.find_messages(v_filter, v_position[1], v_position[2:], v_max + 1) f;
  if cardinality(v_page.ids) > v_max then
    v_last := to_jsonb(v_page.ids[v_max] || v_position[2:]);
  elsif v_page.searched_to is not null then
    v_last := to_jsonb(v_page.searched_to || v_position[2:] || v_page.early);
  end if;
  select coalesce(jsonb_agg(to_jsonb(r) order by r.id desc), '[]') into v_rows
  from (
    select m.id, m.message_type, m.transport_name, m.queue_name, m.priority, m.status,
      nullif(m.available_at, 'infinity') as available_at,
      m.available_at = 'infinity' as blocked, m.scheduled_at, m.created_at, m.processed_at, m.retry_count,
      m.max_retries, m.error_class,
      left(m.last_error, 200) as last_error, m.locked_by, m.lock_expires_at, m.cancel_requested_at, m.ordering_key,
      m.idempotency_key, m.created_by
    from public.messenger_messages m where m.id = any (v_page.ids[1:v_max])
  ) r;
  select * into v_total from messenger.count_rows('select from public.messenger_messages m where '
    || messenger.message_conditions(v_filter), v_filter);
  return jsonb_build_object('messages', v_rows, 'next_cursor',
    case when v_last is not null then messenger.write_cursor('messages', v_filter, v_last) end,
    'searched_to', (select m.created_at from public.messenger_messages m where m.id = v_page.searched_to),
    'total', v_total.n, 'estimated', v_total.estimated);
end $$;

create or replace function public.messenger_get_message(id uuid)
returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select to_jsonb(m)
    || jsonb_build_object('available_at', nullif(m.available_at, 'infinity'), 'blocked', m.available_at = 'infinity',
      'attempts', (
        select coalesce(jsonb_agg(to_jsonb(a) - 'message_id' order by a.fence), '[]') from messenger.attempts a
        where a.message_id = m.id),
      'dead_letters', (
        select coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'failed_at', f.failed_at, 'resolved_at', f.resolved_at,
          'resolution', f.resolution) order by f.failed_at desc), '[]')
        from public.messenger_failed_messages f where f.message_id = m.id))
  from public.messenger_messages m
  where m.id = messenger_get_message.id
$$;

comment on function messenger.first_id(timestamptz) is 'The lowest id that a message created at this moment can have.';
comment on function messenger.message_conditions(jsonb) is
  'A filter of messenger_list_messages as SQL conditions on "m"; its values are read from $1.';
comment on function messenger.scan_limit() is 'The number of rows that one call of a list scans at most.';
comment on function messenger.find_messages(jsonb, uuid, uuid[], int) is
  'Ids of messages that match a filter, newest first, older than before and not in shown. searched_to: the last id '
  'scanned if the scan ended before wanted ids were found; early: those among ids that are older than it.';
comment on function public.messenger_list_messages(jsonb, text, int) is
  'Messages without their bodies, newest first: {"messages", "next_cursor", "searched_to", "total", "estimated"}. '
  'filter: id, status, type, transport, queue, error_class, idempotency_key, ordering_key, created_by, from and to '
  '(created_at; to is exclusive). max: 1 to 1000. A call scans at most 20,000 messages; if the page is not full '
  'then, searched_to is the moment reached and next_cursor continues from there. total is exact up to 10,000 and '
  'estimated above. Raises SM_FILTER, SM_UNKNOWN_FIELD, SM_BATCH. Example: select '
  'messenger_list_messages(''{"status": "failed", "type": "SendEmail"}'');';
comment on function public.messenger_get_message(uuid) is
  'One message with all its columns, "blocked" (true: it waits for its predecessor of the ordering key; available_at '
  'is then null), "attempts" (failed deliveries since its last end) and "dead_letters"; null if there is none. '
  'Example: select messenger_get_message(''01890a5d-ac96-774b-bcce-b302099a8057'');';
revoke all on function
  messenger.first_id(timestamptz),
  messenger.message_conditions(jsonb),
  messenger.scan_limit(),
  messenger.find_messages(jsonb, uuid, uuid[], int),
  public.messenger_list_messages(jsonb, text, int),
  public.messenger_get_message(uuid)
from public, anon, authenticated;
grant execute on function
  messenger.first_id(timestamptz),
  messenger.message_conditions(jsonb),
  messenger.scan_limit(),
  messenger.find_messages(jsonb, uuid, uuid[], int),
  public.messenger_list_messages(jsonb, text, int),
  public.messenger_get_message(uuid)
to service_role;
