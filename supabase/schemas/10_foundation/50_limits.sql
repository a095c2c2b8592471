-- Limits of stored values: size, depth and numbers of JSON, length of texts, range of times and intervals.

-- pg_column_size first, because printing costs more; below 6,000 bytes no jsonb prints to more than 40 times its size.
-- A number such as 1e131071 has 9 bytes in jsonb and 131,072 when printed: call has_out_of_range_number before this.
create or replace function messenger.exceeds(value jsonb, bytes int)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_column_size(value) > bytes / 40 and octet_length(value::text) > bytes;
end $$;

create or replace function messenger.has_out_of_range_number(value jsonb)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return value @? 'strict $.** ? (@.type() == "number" && '
    '(@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308 || (@ != 0 && @ > -5e-324 && @ < 5e-324)))';
end $$;

-- Sixty-five nested containers take at least 520 bytes, so most payloads are not searched.
create or replace function messenger.is_too_deep(value jsonb)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_column_size(value) > 500
    and value @? 'strict $.**{64 to last} ? (@.type() == "object" || @.type() == "array")';
end $$;

create or replace function messenger.clip(value text, bytes int)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_length int;
begin
  if value is null or octet_length(value) <= bytes then
    return value;
  end if;
  v_length := least(bytes, bytes::bigint * length(value) / octet_length(value) + 16);
  while octet_length(left(value, v_length)) > bytes loop
    v_length := v_length - greatest(1, (octet_length(left(value, v_length)) - bytes) / 4);
  end loop;
  return left(value, v_length);
end $$;

-- A result or progress that is too large is replaced by a marker: it must not fail the message.
create or replace function messenger.cap_size(value jsonb)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when value is null or value = 'null'::jsonb then null
    when messenger.has_out_of_range_number(value) then
      jsonb_build_object('symphony_dropped', 'a number outside the range of a double')
    when messenger.exceeds(value, 65536) then
      jsonb_build_object('symphony_dropped', 'larger than 64 KB', 'bytes', octet_length(value::text))
    else value
  end;
end $$;

-- Small values are not tested one by one: that costs 4 us each.
create or replace function messenger.cap_results(results jsonb[])
returns jsonb[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_out_of_range boolean := messenger.has_out_of_range_number(to_jsonb(results));
begin
  return array(
    select case when v_is_out_of_range or pg_column_size(r.result) > 1600
      then messenger.cap_size(r.result) else r.result end
    from unnest(results) with ordinality as r(result, ord) order by r.ord);
end $$;

-- JSON strings as timestamps and intervals. The result is null where Postgres would raise, so that the caller can name
-- the element of a batch.

-- ISO 8601 with a zone: any other form depends on the settings of the session. The forms are those that Postgres
-- prints, years BC included.
create or replace function messenger.read_moment(value jsonb)
returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := value #>> '{}';
  v_time timestamptz;
begin
  if jsonb_typeof(value) <> 'string' or v_text !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}'
    '(:[0-9]{2}(\.[0-9]+)?)? ?([Zz]|[+-][0-9]{2}(:?[0-9]{2}){0,2})( BC)?$' then
    return null;
  end if;
  v_time := v_text::timestamptz;
  return case when isfinite(v_time) and v_time < '10000-01-01 00:00:00+00' then v_time end;
exception when data_exception then
  return null;
end $$;

-- Postgres reads a number without a unit as seconds, also at the end of '1 day 7', where its author may mean days or
-- milliseconds. Zero is the same in every unit. Constraint messenger_transports_config_check has the same pattern.
create or replace function messenger.read_interval(value jsonb, longest interval)
returns interval
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := value #>> '{}';
  v_interval interval;
begin
  if jsonb_typeof(value) <> 'string'
    or v_text ~ '(^|[^0-9:.-])[+-]?[0-9.]*[1-9][0-9.]*(e[+-]?[0-9]+)?\s*(ago\s*)?$' then
    return null;
  end if;
  v_interval := v_text::interval;
  -- '1 month -40 days' is negative only from some dates: compare by today's calendar, as its use will.
  return case when v_interval <= longest and pg_catalog.now() + v_interval >= pg_catalog.now() then v_interval end;
exception when data_exception then
  return null;
end $$;

-- A duration that is out of range or not a number must not lose the outcome reported with it.
create or replace function messenger.read_milliseconds(value jsonb, longest numeric)
returns double precision
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when jsonb_typeof(value) = 'number' then least(greatest(value::numeric, 0), longest)
    when value #>> '{}' ~ '^-?[0-9]{1,30}([.][0-9]{1,30})?$' then least(greatest((value #>> '{}')::numeric, 0), longest)
  end;
end $$;

comment on function messenger.exceeds(jsonb, int) is
  'True if the JSON text of the value has more than this number of bytes.';
comment on function messenger.has_out_of_range_number(jsonb) is
  'True if the value contains a number that a double cannot hold: too large, or too close to zero.';
comment on function messenger.is_too_deep(jsonb) is 'True if objects and arrays are nested deeper than 64 levels.';
comment on function messenger.clip(text, int) is
  'The text, cut to at most this number of bytes at a character boundary; null for null.';
comment on function messenger.cap_size(jsonb) is
  'The value, or a marker {"symphony_dropped": reason} if it has more than 64 KB or a number outside the range of a '
  'double. JSON null becomes SQL null.';
comment on function messenger.cap_results(jsonb[]) is 'The results of handlers, each as messenger.cap_size returns it.';
comment on function messenger.read_moment(jsonb) is
  'A JSON string in ISO 8601 with a zone as a timestamp before the year 10000; null for any other value.';
comment on function messenger.read_interval(jsonb, interval) is
  'A JSON string with a unit as an interval from zero to the given longest one; null for any other value.';
comment on function messenger.read_milliseconds(jsonb, numeric) is
  'A JSON number, or a string that contains one, limited to the range from zero to the given longest value; null for '
  'any other value.';

revoke all on function
  messenger.exceeds(jsonb, int),
  messenger.has_out_of_range_number(jsonb),
  messenger.is_too_deep(jsonb),
  messenger.clip(text, int),
  messenger.cap_size(jsonb),
  messenger.cap_results(jsonb[]),
  messenger.read_moment(jsonb),
  messenger.read_interval(jsonb, interval),
  messenger.read_milliseconds(jsonb, numeric)
from public, anon, authenticated;
grant execute on function
  messenger.exceeds(jsonb, int),
  messenger.has_out_of_range_number(jsonb),
  messenger.is_too_deep(jsonb),
  messenger.clip(text, int),
  messenger.cap_size(jsonb),
  messenger.cap_results(jsonb[]),
  messenger.read_moment(jsonb),
  messenger.read_interval(jsonb, interval),
  messenger.read_milliseconds(jsonb, numeric)
to service_role;
