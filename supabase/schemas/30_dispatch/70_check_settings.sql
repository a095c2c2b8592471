-- Checks of settings in JSON, of message types and of messenger_start: each must have its JSON type and be in its
-- range.

create or replace function messenger.is_setting(value jsonb, kind text, lowest numeric, highest numeric)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case kind
    when 'name' then jsonb_typeof(value) = 'string' and value #>> '{}' ~ '^[a-z0-9][a-z0-9_-]{0,62}$'
    when 'type' then jsonb_typeof(value) = 'string' and value #>> '{}' ~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'
    when 'sender' then value in ('"service"', '"user"')
    when 'object' then jsonb_typeof(value) = 'object'
    when 'array' then jsonb_typeof(value) = 'array'
    -- Compared as jsonb first: 1e131071 is a number that takes 131 KB to print.
    else coalesce(jsonb_typeof(value) = 'number' and value between to_jsonb(lowest) and to_jsonb(highest)
      and (kind = 'number' or value::numeric % 1 = 0), false)
  end;
end $$;

create or replace function messenger.reject_setting(code text, field text, value jsonb, wanted text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_shown text := case
    when messenger.has_out_of_range_number(value) then 'a number outside the range of a double'
    else left(value::text, 60) end;
begin
  perform messenger.raise_error(
    code, format('%s must be %s, not %s', field, wanted, v_shown), format('set %s to %s, or omit it', field, wanted));
end $$;

create or replace function messenger.check_types(types jsonb)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fault record;
begin
  select e.value ->> 'type' as type, f.code, array_to_string(f.path, '.') as field, e.value #> f.path as value, f.wanted
  into v_fault
  from jsonb_array_elements(types) with ordinality as e(value, ord)
  cross join (values
    (1, array['transport'], 'SM_TRANSPORT', 'name', null, null,
     '1 to 63 lower-case letters, digits, underscores or hyphens'),
    (2, array['queue'], 'SM_QUEUE', 'name', null, null, '1 to 63 lower-case letters, digits, underscores or hyphens'),
    (3, array['priority'], 'SM_PRIORITY', 'whole', 1, 10, 'a whole number from 1 to 10'),
    (4, array['dispatchable_by'], 'SM_SETTING', 'sender', null, null, '"service" or "user"'),
    (5, array['retry'], 'SM_SETTING', 'object', null, null, 'an object'),
    (6, array['retry', 'max_retries'], 'SM_MAX_RETRIES', 'whole', 0, 100, 'a whole number from 0 to 100'),
    (7, array['retry', 'delay_ms'], 'SM_SETTING', 'whole', 0, 86400000000,
     'a whole number of milliseconds from 0 to 86400000000 (1000 days)'),
    (8, array['retry', 'multiplier'], 'SM_SETTING', 'number', 1, 100, 'a number from 1 to 100'),
    (9, array['retry', 'max_delay_ms'], 'SM_SETTING', 'whole', 0, 86400000000,
     'a whole number of milliseconds from 0 to 86400000000 (1000 days)'),
    (10, array['retry', 'jitter'], 'SM_SETTING', 'number', 0, 1, 'a number from 0 to 1'),
    (11, array['timeout_ms'], 'SM_SETTING', 'whole', 1, 86400000000,
     'a whole number of milliseconds from 1 to 86400000000 (1000 days)'),
    (12, array['aliases'], 'SM_TYPE', 'array', null, null, 'an array of message types')
  ) as f(ord, path, code, kind, lowest, highest, wanted)
  where e.value #> f.path <> 'null' and not messenger.is_setting(e.value #> f.path, f.kind, f.lowest, f.highest)
  order by e.ord, f.ord limit 1;
  if found then
    perform messenger.reject_setting(
      v_fault.code, v_fault.type || ': ' || v_fault.field, v_fault.value, v_fault.wanted);
  end if;
  select e.value ->> 'type' as type, a.value into v_fault
  from jsonb_array_elements(types) with ordinality as e(value, ord)
  cross join lateral jsonb_array_elements(
    case jsonb_typeof(e.value -> 'aliases') when 'array' then e.value -> 'aliases' else '[]' end) as a(value)
  where not messenger.is_setting(a.value, 'type', null, null)
  order by e.ord limit 1;
  if found then
    perform messenger.reject_setting(
      'SM_TYPE', v_fault.type || ': aliases', v_fault.value, 'an array of message types');
  end if;
end $$;

create or replace function messenger.check_start(functions_url text, options jsonb)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fault record;
begin
  if functions_url !~ '^https?://[^\s]+[^/\s]$' then
    perform messenger.raise_error('SM_SETTING',
      format('functions_url must be the http or https URL of the edge functions, not "%s"', left(functions_url, 100)),
      'for example https://<project>.supabase.co/functions/v1');
  end if;
  select f.field, options -> f.field as value, f.wanted into v_fault
  from (values
    ('max_workers', 1, 100, 'a whole number from 1 to 100'),
    ('messages_per_worker', 1, 100000, 'a whole number from 1 to 100000'),
    ('max_unfinished_per_user', 0, 2147483647, 'a whole number from 0 to 2147483647')
  ) as f(field, lowest, highest, wanted)
  where options -> f.field <> 'null' and not messenger.is_setting(options -> f.field, 'whole', f.lowest, f.highest)
  order by f.field limit 1;
  if found then
    perform messenger.reject_setting('SM_SETTING', 'options.' || v_fault.field, v_fault.value, v_fault.wanted);
  elsif options -> 'poll_interval' <> 'null'
    and coalesce(messenger.read_interval(options -> 'poll_interval', '1 minute') < '1 ms', true) then
    perform messenger.reject_setting('SM_SETTING', 'options.poll_interval', options -> 'poll_interval',
      'an interval with a unit from "1 ms" to "1 minute"');
  end if;
end $$;

comment on function messenger.is_setting(jsonb, text, numeric, numeric) is
  'Whether a JSON value is of this kind: name (of a queue or transport), type, sender (service or user), object, '
  'array, whole (a whole number) or number; the last two must be in the given range.';
comment on function messenger.reject_setting(text, text, jsonb, text) is
  'Raises the error with this code for a field, with the required and the actual value.';
comment on function messenger.check_types(jsonb) is
  'Raises an error for the first definition of a message type with a field that is malformed or out of range, and '
  'names type and field.';
comment on function messenger.check_start(text, jsonb) is
  'Raises SM_SETTING for a URL or an option of messenger_start that is malformed or out of range.';
revoke all on function
  messenger.is_setting(jsonb, text, numeric, numeric),
  messenger.reject_setting(text, text, jsonb, text),
  messenger.check_types(jsonb),
  messenger.check_start(text, jsonb)
from public, anon, authenticated;
grant execute on function
  messenger.is_setting(jsonb, text, numeric, numeric),
  messenger.reject_setting(text, text, jsonb, text),
  messenger.check_types(jsonb),
  messenger.check_start(text, jsonb)
to service_role;
