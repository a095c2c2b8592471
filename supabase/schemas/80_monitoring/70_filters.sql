-- Arguments of lists: filters, which are strictly typed, and cursors, which point to the end of a page.

create or replace function messenger.check_filter(
  filter jsonb, texts text[], times text[] default '{}', booleans text[] default '{}', ids text[] default '{}'
)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_invalid text;
begin
  if filter is null or jsonb_typeof(filter) <> 'object' then
    perform messenger.raise_error('SM_FILTER', 'the filter must be a JSON object', 'pass {} to select all');
  end if;
  select k into v_invalid from jsonb_object_keys(filter) k
  where k <> all (texts || times || booleans || ids) order by k limit 1;
  if found then
    perform messenger.raise_error('SM_UNKNOWN_FIELD', 'filter.' || left(v_invalid, 100),
      'the fields are ' || array_to_string(texts || times || booleans || ids, ', '));
  end if;
  select f.key into v_invalid from jsonb_each(filter) f
  where case
    when f.key = any (booleans) then jsonb_typeof(f.value) <> 'boolean'
    when f.key = any (times) then messenger.read_moment(f.value) is null
    when f.key = any (ids) then jsonb_typeof(f.value) <> 'string'
      or f.value #>> '{}' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    else jsonb_typeof(f.value) <> 'string'
  end
  order by f.key limit 1;
  if found then
    perform messenger.raise_error('SM_FILTER', 'filter.' || v_invalid, case
      when v_invalid = any (booleans) then 'pass true or false'
      when v_invalid = any (times) then 'pass an ISO 8601 moment with a zone, for example 2030-01-31T09:00:00Z'
      when v_invalid = any (ids) then 'pass a UUID'
      else 'pass a string' end);
  end if;
  if messenger.read_moment(filter -> 'to') <= messenger.read_moment(filter -> 'from') then
    perform messenger.raise_error('SM_FILTER', 'filter.to must be later than filter.from',
      'change one of them, or leave it out');
  end if;
end $$;

create or replace function messenger.check_page(max int)
returns int
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if max not between 1 and 1000 then
    perform messenger.raise_error('SM_BATCH',
      message => 'max must be a number from 1 to 1000',
      remedy => 'use next_cursor to read more rows');
  end if;
  return max;
end $$;

-- A cursor is bound to its list and filter: with another filter it would silently leave rows out.
create or replace function messenger.write_cursor(list text, filter jsonb, page_end jsonb)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return rtrim(translate(encode(
    convert_to(jsonb_build_object('list', list, 'filter', md5(filter::text), 'position', page_end)::text, 'UTF8'),
    'base64'), E'+/\n', '-_'), '=');
end $$;

create or replace function messenger.read_cursor(list text, filter jsonb, cursor text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cursor jsonb;
  v_is_valid boolean;
begin
  if cursor is null then
    return null;
  end if;
  begin
    v_cursor := convert_from(decode(rpad(translate(cursor, '-_', '+/'), (length(cursor) + 3) / 4 * 4, '='), 'base64'),
      'UTF8')::jsonb;
    -- Callers can forge a cursor, so its position is checked to have the list's own form.
    case list
      when 'messages' then v_is_valid := (select bool_and(p::uuid is not null)
        from jsonb_array_elements_text(v_cursor -> 'position') p);
      when 'failed' then v_is_valid := (v_cursor -> 'position' ->> 0)::timestamptz is not null
        and (v_cursor -> 'position' ->> 1)::uuid is not null;
      else v_is_valid := jsonb_typeof(v_cursor -> 'position') = 'string';
    end case;
  exception when data_exception or program_limit_exceeded then
    v_is_valid := false;
  end;
  if v_is_valid is not true or v_cursor ->> 'list' is distinct from list
    or v_cursor ->> 'filter' is distinct from md5(filter::text) then
    perform messenger.raise_error('SM_FILTER', 'the cursor does not belong to this list and filter',
      'start again without a cursor');
  end if;
  return v_cursor -> 'position';
end $$;

comment on function messenger.check_filter(jsonb, text[], text[], text[], text[]) is
  'Raises SM_UNKNOWN_FIELD for a key that is not listed, SM_FILTER for a value of another '
  'type or if "to" is not later than "from".';
comment on function messenger.check_page(int) is
  'Raises SM_BATCH for page sizes other than 1 to 1000; returns the size.';
comment on function messenger.write_cursor(text, jsonb, jsonb) is
  'The end of a page as opaque text, bound to its list and filter.';
comment on function messenger.read_cursor(text, jsonb, text) is
  'The position in a cursor. Raises SM_FILTER if the cursor is malformed or belongs to another list or filter.';
revoke all on function
  messenger.check_filter(jsonb, text[], text[], text[], text[]),
  messenger.check_page(int),
  messenger.write_cursor(text, jsonb, jsonb),
  messenger.read_cursor(text, jsonb, text)
from public, anon, authenticated;
grant execute on function
  messenger.check_filter(jsonb, text[], text[], text[], text[]),
  messenger.check_page(int),
  messenger.write_cursor(text, jsonb, jsonb),
  messenger.read_cursor(text, jsonb, text)
to service_role;
