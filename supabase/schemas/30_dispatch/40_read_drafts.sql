-- Parsing of dispatches: JSON elements become typed drafts, each with its first error. Nothing is written here.

-- The fields of an element, each with the error code for a null in it.
create or replace function messenger.draft_fields()
returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select '{"type": "SM_TYPE", "payload": "SM_PAYLOAD_NOT_OBJECT", "queue": "SM_QUEUE", "priority": "SM_PRIORITY",
    "available_at": "SM_AVAILABLE_AT", "delay": "SM_DELAY", "idempotency_key": "SM_IDEMPOTENCY_KEY",
    "idempotency_mode": "SM_IDEMPOTENCY_MODE", "idempotency_window": "SM_IDEMPOTENCY_KEY",
    "ordering_key": "SM_ORDERING_KEY", "transport": "SM_TRANSPORT", "max_retries": "SM_MAX_RETRIES",
    "expires_at": "SM_EXPIRES_AT", "headers": "SM_HEADERS_NOT_OBJECT", "metadata": "SM_METADATA_NOT_OBJECT"}'::jsonb
$$;

-- One pass over the set: a function call per element would cost as much as its insert, so calls come after cheap tests
-- of size. Without the planner settings each dispatch would read all types, 3 ms of ten thousand.
create or replace function messenger.read_drafts(messages jsonb, at timestamptz)
returns setof messenger.draft
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  with element as materialized (
    select
      e.ord, e.value, r.*,
      -- The name of a null or unknown field is searched only if the element has one.
      case when e.value - array(select jsonb_object_keys(messenger.draft_fields())) <> '{}'
        or e.value @? 'strict $.* ? (@ == null)'
      then (select f.key from jsonb_each(e.value) f where f.value = 'null' or not messenger.draft_fields() ? f.key
            order by messenger.draft_fields() ? f.key, f.key limit 1) end as odd_field,
      case when r.available_at is not null then messenger.read_moment(r.available_at) end as parsed_available_at,
      case when r.delay is not null then messenger.read_interval(r.delay, '100 years') end as parsed_delay,
      case when r.expires_at is not null then messenger.read_moment(r.expires_at) end as parsed_expires_at,
      case when r.idempotency_window is not null then messenger.read_interval(r.idempotency_window, '1 year') end
        as parsed_window
    from (
      select n as ord, jsonb_typeof(v) = 'object' as is_object,
        case when jsonb_typeof(v) = 'object' then v else '{}' end as value
      from jsonb_array_elements(messages) with ordinality as t(v, n)
    ) as e
    cross join lateral jsonb_to_record(case when e.is_object then e.value else '{"type": 0}' end) as r(
      type jsonb, payload jsonb, queue jsonb, priority jsonb, available_at jsonb, delay jsonb, idempotency_key jsonb,
      idempotency_mode jsonb, idempotency_window jsonb, ordering_key jsonb, transport jsonb, max_retries jsonb,
      expires_at jsonb, headers jsonb, metadata jsonb)
  ),
  checked as materialized (
    select
      e.*, k.queue_name as route_queue, k.priority as route_priority, k.max_retries as route_retries,
      t.name as transport_name, t.config as transport_config, a.requested_at,
      case
        when e.odd_field is not null then coalesce(messenger.draft_fields() ->> e.odd_field, 'SM_UNKNOWN_FIELD')
        when e.type is null or jsonb_typeof(e.type) <> 'string'
          or (k.type is null and e.value ->> 'type' !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$') then 'SM_TYPE'
        when starts_with(e.value ->> 'type', 'symphony.') then 'SM_TYPE_FORBIDDEN'
        when (select messenger.has_out_of_range_number(messages)) and messenger.has_out_of_range_number(e.value)
          then 'SM_NUMBER_RANGE'
        when jsonb_typeof(e.payload) <> 'object' then 'SM_PAYLOAD_NOT_OBJECT'
        when jsonb_typeof(e.headers) <> 'object' then 'SM_HEADERS_NOT_OBJECT'
        when e.headers ? 'x-symphony-user' then 'SM_FIELD_FORBIDDEN'
        when jsonb_typeof(e.metadata) <> 'object' then 'SM_METADATA_NOT_OBJECT'
        when pg_column_size(e.payload) > 6000 and messenger.exceeds(e.payload, 262144) then 'SM_PAYLOAD_TOO_LARGE'
        when pg_column_size(e.headers) > 400 and messenger.exceeds(e.headers, 16384) then 'SM_HEADERS_TOO_LARGE'
        when pg_column_size(e.metadata) > 400 and messenger.exceeds(e.metadata, 16384) then 'SM_HEADERS_TOO_LARGE'
        when pg_column_size(e.value) > 500
          and (messenger.is_too_deep(e.payload) or messenger.is_too_deep(e.headers)
            or messenger.is_too_deep(e.metadata)) then 'SM_DEPTH'
        when jsonb_typeof(e.queue) <> 'string' or e.value ->> 'queue' !~ '^[a-z0-9][a-z0-9_-]{0,62}$' then 'SM_QUEUE'
        when jsonb_typeof(e.transport) <> 'string' or t.name is null then 'SM_TRANSPORT'
        when e.priority is not null and not e.priority = any ('{1,2,3,4,5,6,7,8,9,10}'::jsonb[]) then 'SM_PRIORITY'
        when jsonb_typeof(e.max_retries) <> 'number' then 'SM_MAX_RETRIES'
        when e.max_retries::numeric not between 0 and 100 or e.max_retries::numeric % 1 <> 0 then 'SM_MAX_RETRIES'
        when e.available_at is not null and e.parsed_available_at is null then 'SM_AVAILABLE_AT'
        when e.delay is not null and (e.parsed_delay is null or e.available_at is not null) then 'SM_DELAY'
        when e.expires_at is not null and (e.parsed_expires_at is null
          or e.parsed_expires_at <= greatest(at, a.requested_at)) then 'SM_EXPIRES_AT'
        when jsonb_typeof(e.idempotency_key) <> 'string'
          or octet_length(e.value ->> 'idempotency_key') not between 1 and 255
          or e.value ->> 'idempotency_key' ~ '[\x01-\x1f\x7f]' then 'SM_IDEMPOTENCY_KEY'
        when e.idempotency_mode <> '"ignore"'
          and not e.idempotency_mode = any (array['"replace"', '"reschedule"', '"throttle"', '"debounce"']::jsonb[])
          then 'SM_IDEMPOTENCY_MODE'
        when e.idempotency_mode <> '"ignore"' and e.idempotency_key is null then 'SM_IDEMPOTENCY_KEY'
        when e.idempotency_window is not null and (e.parsed_window is null or e.idempotency_key is null)
          then 'SM_IDEMPOTENCY_KEY'
        when e.ordering_key is not null and (
          jsonb_typeof(e.ordering_key) <> 'string' or octet_length(e.value ->> 'ordering_key') not between 1 and 255
          or e.value ->> 'ordering_key' ~ '[\x01-\x1f\x7f]') then 'SM_ORDERING_KEY'
      end as error_code
    from element e
    left join messenger.message_types k on k.type = e.value ->> 'type'
    left join public.messenger_transports t
      on t.name = coalesce(e.value ->> 'transport', k.transport_name, 'supabase') and t.enabled
        and t.type in ('supabase', 'sync')
    -- A debounced message without a delay waits for its window.
    cross join lateral (
      select coalesce(
        e.parsed_available_at,
        at + e.parsed_delay,
        case when e.idempotency_mode = '"debounce"'
          then at + coalesce(e.parsed_window, (t.config ->> 'idempotency_window')::interval, '24 hours') end
      ) as requested_at
    ) a
  )
  select c.ord::int, c.error_code,
    case
      when not messenger.draft_fields() ? c.odd_field then c.odd_field
      when c.error_code = 'SM_FIELD_FORBIDDEN' then 'headers.x-symphony-user'
    end,
    d.*
  from checked c
  -- Casts only after the checks have passed: offset 0 keeps the planner from moving them out of the condition.
  left join lateral (
    select
      c.value ->> 'type', c.transport_name, coalesce(c.value ->> 'queue', c.route_queue, 'default'),
      coalesce(c.priority::int, c.route_priority, 5), coalesce(c.payload, '{}'), coalesce(c.headers, '{}'),
      coalesce(c.metadata, '{}'), c.requested_at, greatest(at, c.requested_at), c.parsed_expires_at,
      coalesce(c.max_retries::int, c.route_retries, 3), c.value ->> 'idempotency_key',
      coalesce(c.idempotency_mode #>> '{}', 'ignore'),
      coalesce(c.parsed_window, (c.transport_config ->> 'idempotency_window')::interval, '24 hours'),
      c.ordering_key #>> '{}'
    where c.error_code is null
    offset 0
  ) as d on true;
end $$;

comment on function messenger.draft_fields() is
  'The field names of a dispatch, each with the error code for a null in it.';
comment on function messenger.read_drafts(jsonb, timestamptz) is
  'The elements of a dispatch as drafts, in order. Elements have the parameter names of messenger_dispatch, exact JSON '
  'types and no nulls. error_code is the first error of an element; its other columns are then null.';
revoke all on function
  messenger.draft_fields(),
  messenger.read_drafts(jsonb, timestamptz)
from public, anon, authenticated;
grant execute on function messenger.draft_fields(), messenger.read_drafts(jsonb, timestamptz) to service_role;
