-- What lists are asked with: filters, exact in type, and cursors that say where a page ended.

-- Values are strings, numbers or booleans as each key says; what a list does not know is rejected by name.
create or replace function messenger.check_filter(filter jsonb, texts text[], times text[] default '{}', booleans text[] default '{}', ids text[] default '{}')
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_odd text;
begin
  if filter is null or jsonb_typeof(filter) <> 'object' then
    perform messenger.raise_error('SM_FILTER', 'the filter must be a JSON object');
  end if;
  select k into v_odd from jsonb_object_keys(filter) k where k <> all (texts || times || booleans || ids) order by k limit 1;
  if found then
    perform messenger.raise_error('SM_UNKNOWN_FIELD', 'filter.' || left(v_odd, 100));
  end if;
  select f.key into v_odd from jsonb_each(filter) f
  where case
    when f.key = any (booleans) then jsonb_typeof(f.value) <> 'boolean'
    when f.key = any (times) then messenger.read_time(f.value) is null
    when f.key = any (ids) then jsonb_typeof(f.value) <> 'string' or f.value #>> '{}' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    else jsonb_typeof(f.value) <> 'string'
  end
  order by f.key limit 1;
  if found then
    perform messenger.raise_error('SM_FILTER', 'filter.' || v_odd);
  end if;
  if messenger.read_time(filter -> 'to') <= messenger.read_time(filter -> 'from') then
    perform messenger.raise_error('SM_FILTER', 'filter.to is not after filter.from');
  end if;
end $$;

create or replace function messenger.check_page(max int)
returns int
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if max not between 1 and 1000 then
    perform messenger.raise_error('SM_BATCH', 'max');
  end if;
  return max;
end $$;

-- A cursor is good for the list and filter it came from: with another filter it would leave rows out without a word.
create or replace function messenger.write_cursor(list text, filter jsonb, place jsonb)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return rtrim(translate(encode(convert_to(jsonb_build_object('list', list, 'filter', md5(filter::text), 'place', place)::text, 'UTF8'), 'base64'), E'+/\n', '-_'), '=');
end $$;

create or replace function messenger.read_cursor(list text, filter jsonb, cursor text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cursor jsonb;
  v_sound boolean;
begin
  if cursor is null then
    return null;
  end if;
  begin
    v_cursor := convert_from(decode(rpad(translate(cursor, '-_', '+/'), (length(cursor) + 3) / 4 * 4, '='), 'base64'), 'UTF8')::jsonb;
    -- Anybody can write a cursor: the place must be what this list reads from it.
    case list
      when 'messages' then v_sound := (select bool_and(p::uuid is not null) from jsonb_array_elements_text(v_cursor -> 'place') p);
      when 'failed' then v_sound := (v_cursor -> 'place' ->> 0)::timestamptz is not null and (v_cursor -> 'place' ->> 1)::uuid is not null;
      else v_sound := jsonb_typeof(v_cursor -> 'place') = 'string';
    end case;
  exception when data_exception or program_limit_exceeded then
    v_sound := false;
  end;
  if v_sound is not true or v_cursor ->> 'list' is distinct from list or v_cursor ->> 'filter' is distinct from md5(filter::text) then
    perform messenger.raise_error('SM_FILTER', 'the cursor is not of this list and filter; begin again without one');
  end if;
  return v_cursor -> 'place';
end $$;

comment on function messenger.check_filter(jsonb, text[], text[], text[], text[]) is 'Rejects a filter with keys that are not named, with values of another type, or with a "to" that is not after "from".';
comment on function messenger.check_page(int) is 'Rejects page sizes other than 1 to 1000; answers the size.';
comment on function messenger.write_cursor(text, jsonb, jsonb) is 'A page''s end as opaque text, bound to its list and filter.';
comment on function messenger.read_cursor(text, jsonb, text) is 'What write_cursor put into a cursor; rejects one that is garbled or belongs to another list or filter.';
revoke all on function messenger.check_filter(jsonb, text[], text[], text[], text[]), messenger.check_page(int), messenger.write_cursor(text, jsonb, jsonb),
  messenger.read_cursor(text, jsonb, text) from public, anon, authenticated;
grant execute on function messenger.check_filter(jsonb, text[], text[], text[], text[]), messenger.check_page(int), messenger.write_cursor(text, jsonb, jsonb),
  messenger.read_cursor(text, jsonb, text) to service_role;
