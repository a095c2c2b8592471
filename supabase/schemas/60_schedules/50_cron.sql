-- Parses cron expressions into masks and finds the next matching wall-clock time with them.

-- A mask is a text of 0 and 1, because one strpos call finds the next 1. Its first character stands for the lowest
-- value of the field. 7 is Sunday, as 0 is. A value that is listed twice is rejected, as in cron-parser.
create or replace function messenger.read_cron_field(field text, value text, lowest int, highest int, names text[])
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_width int := case field when 'weekday' then 7 else highest - lowest + 1 end;
  v_mask text;
  v_item text;
  v_parts text[];
  v_from int;
  v_to int;
  v_step int;
  v_union text := repeat('0', v_width);
begin
  if value = '*' or value = '?' then
    return repeat('1', v_width);
  end if;
  foreach v_item in array string_to_array(value, ',') loop
    v_parts := regexp_match(v_item, '^(?:([*?])|([0-9]{1,9}|[A-Z]{3})(?:-([0-9]{1,9}|[A-Z]{3}))?)(?:/([0-9]{1,9}))?$');
    if v_parts is null then
      perform messenger.raise_error('SM_CRON', format('%s "%s"', field, left(v_item, 40)));
    end if;
    if v_parts[1] is not null then
      v_from := lowest;
      v_to := highest;
    else
      v_from := case when v_parts[2] ~ '^[0-9]' then v_parts[2]::int
        else array_position(names, v_parts[2]) + lowest - 1 end;
      v_to := case when v_parts[3] ~ '^[0-9]' then v_parts[3]::int
        when v_parts[3] is not null then array_position(names, v_parts[3]) + lowest - 1
        when v_parts[4] is not null then highest else v_from end;
    end if;
    v_step := least(coalesce(v_parts[4]::int, 1), 100);
    if v_from is null or v_to is null or v_from < lowest or v_to > highest or v_from > v_to or v_step = 0 then
      perform messenger.raise_error('SM_CRON', format('%s "%s"', field, left(v_item, 40)));
    end if;
    if v_from = v_to then
      v_mask := overlay(repeat('0', v_width) placing '1' from (v_from - lowest) % v_width + 1 for 1);
    elsif v_step = 1 and v_to - lowest < v_width then
      v_mask := repeat('0', v_from - lowest) || repeat('1', v_to - v_from + 1)
        || repeat('0', v_width - 1 - v_to + lowest);
    else
      -- The pattern of the step from v_from on, cut after v_to. In weekdays the eighth character is Sunday again.
      v_mask := rpad(repeat('0', v_from - lowest)
        || left(repeat('1' || repeat('0', v_step - 1), (v_to - v_from) / v_step + 1), v_to - v_from + 1),
          greatest(v_width, highest - lowest + 1), '0');
      if length(v_mask) > v_width then
        v_mask := case when right(v_mask, 1) = '1' then '1' || substr(v_mask, 2, v_width - 1)
          else left(v_mask, v_width) end;
      end if;
    end if;
    if v_union = repeat('0', v_width) then
      v_union := v_mask;
    elsif (v_union::bit varying & v_mask::bit varying) <> repeat('0', v_width)::bit varying then
      perform messenger.raise_error('SM_CRON', format('%s "%s" names a value twice', field, left(value, 40)));
    else
      v_union := (v_union::bit varying | v_mask::bit varying)::text;
    end if;
  end loop;
  return v_union;
end $$;

create or replace function messenger.parse_cron(expression text)
returns messenger.cron_fields
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  -- In a Turkish collation upper('i') is a dotted capital, which no weekday name contains.
  v_expression text := upper(btrim(expression, E' \t\r\n') collate "C");
  v_parts text[];
  v_fields messenger.cron_fields;
  v_day text;
  v_weekday text;
  v_item text;
  v_last int;
begin
  if v_expression is null or octet_length(v_expression) > 1024 then
    perform messenger.raise_error('SM_CRON');
  end if;
  v_expression := case v_expression
    when '@YEARLY' then '0 0 1 1 *' when '@ANNUALLY' then '0 0 1 1 *' when '@MONTHLY' then '0 0 1 * *'
    when '@WEEKLY' then '0 0 * * 0'
    when '@DAILY' then '0 0 * * *' when '@MIDNIGHT' then '0 0 * * *' when '@HOURLY' then '0 * * * *'
    else v_expression end;
  v_parts := regexp_split_to_array(v_expression, '[ \t\r\n]+');
  if cardinality(v_parts) = 5 then
    v_parts := array_prepend('0', v_parts);
  elsif cardinality(v_parts) <> 6 then
    perform messenger.raise_error('SM_CRON', case when v_expression = '' then 'the expression is empty'
      when left(v_expression, 1) = '@' then quote_ident(left(lower(v_expression), 40))
      else cardinality(v_parts) || ' fields' end);
  end if;

  v_fields.seconds := messenger.read_cron_field('second', v_parts[1], 0, 59, null);
  v_fields.minutes := messenger.read_cron_field('minute', v_parts[2], 0, 59, null);
  v_fields.hours := messenger.read_cron_field('hour', v_parts[3], 0, 23, null);
  v_fields.months := messenger.read_cron_field('month', v_parts[5], 1, 12,
    '{JAN,FEB,MAR,APR,MAY,JUN,JUL,AUG,SEP,OCT,NOV,DEC}');

  if v_parts[4] || ' ' || v_parts[6] ~ '(^|[, ]),|,( |$)' then
    perform messenger.raise_error('SM_CRON', format('"%s" has an empty element in a list', left(v_expression, 80)));
  end if;
  v_day := v_parts[4];
  v_fields.last_day := false;
  if strpos(v_day, 'L') > 0 then
    v_fields.last_day := true;
    if v_day <> 'L' then
      v_day := regexp_replace(v_day, '^L,|,L(?=,|$)', '');
    end if;
  end if;
  v_fields.days := case when v_day = 'L' then repeat('0', 31)
    else messenger.read_cron_field('day', v_day, 1, 31, null) end;

  v_weekday := v_parts[6];
  v_fields.nth := 0;
  v_fields.last_weekdays := '0000000';
  if strpos(v_weekday, '#') > 0 then
    if v_weekday !~ '^([*?]|[0-9]|[A-Z]{3})#[1-5]$' then
      perform messenger.raise_error('SM_CRON', format('weekday "%s"', left(v_weekday, 40)));
    end if;
    v_fields.nth := right(v_weekday, 1)::int;
    v_weekday := left(v_weekday, -2);
  elsif strpos(v_weekday, 'L') > 0 then
    foreach v_item in array string_to_array(v_weekday, ',') loop
      continue when v_item !~ '^([0-9]|[A-Z]{3})L$';
      v_last := strpos(messenger.read_cron_field('weekday', left(v_item, -1), 0, 7, '{SUN,MON,TUE,WED,THU,FRI,SAT}'),
        '1');
      v_fields.last_weekdays := overlay(v_fields.last_weekdays placing '1' from v_last for 1);
    end loop;
    v_weekday := array_to_string(array(
      select i.item from unnest(string_to_array(v_weekday, ',')) with ordinality as i(item, ord)
      where i.item !~ '^([0-9]|[A-Z]{3})L$' order by i.ord), ',');
  end if;
  v_fields.weekdays := case when v_weekday = '' and v_parts[6] <> '' then '0000000'
    else messenger.read_cron_field('weekday', v_weekday, 0, 7, '{SUN,MON,TUE,WED,THU,FRI,SAT}') end;

  -- If both day fields restrict, a day that matches either counts. If only one does, the other is ignored.
  if v_parts[6] in ('*', '?') then
    v_fields.weekdays := '0000000';
  elsif v_parts[4] in ('*', '?') then
    v_fields.days := repeat('0', 31);
  end if;
  v_fields.first_second := strpos(v_fields.seconds, '1') - 1;
  v_fields.first_minute := strpos(v_fields.minutes, '1') - 1;
  v_fields.first_hour := strpos(v_fields.hours, '1') - 1;
  v_fields.elapsed := v_parts[3] ~ '^[*?]' and strpos(substr(v_fields.hours, 2), '1') > 0
    or v_fields.hours = repeat('1', 24);
  return v_fields;
end $$;

-- Ends after 41 years: the 29th of February falls on a given weekday at least once every 40.
create or replace function messenger.next_cron_day(fields messenger.cron_fields, from_day date)
returns date
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_first date := date_trunc('month', from_day::timestamp)::date;
  v_from int := from_day - v_first + 1;
  v_month int := extract(month from from_day)::int;
  v_skip int;
  v_length int;
  v_offset int;
  v_weekdays text;
  v_last_weekdays text;
  v_day int;
begin
  for v_turn in 1..500 loop
    v_skip := strpos(substr(fields.months || fields.months, v_month), '1') - 1;
    if v_skip > 0 then
      v_first := (v_first + v_skip * interval '1 month')::date;
      v_month := (v_month + v_skip - 1) % 12 + 1;
      v_from := 1;
    end if;
    exit when v_first > from_day + 14975;
    v_length := (v_first + interval '1 month')::date - v_first;
    -- 2000-01-02 was a Sunday.
    v_offset := ((v_first - date '2000-01-02') % 7 + 7) % 7;
    v_weekdays := substr(repeat(fields.weekdays, 6), v_offset + 1, v_length);
    if fields.nth > 0 then
      v_weekdays := repeat('0', fields.nth * 7 - 7) || substr(v_weekdays, fields.nth * 7 - 6, 7);
    end if;
    v_last_weekdays := repeat('0', v_length - 7) || substr(repeat(fields.last_weekdays, 6), v_offset + v_length - 6, 7);
    v_day := least(
      nullif(strpos(substr(fields.days, v_from, v_length - v_from + 1), '1'), 0),
      nullif(strpos(substr(v_weekdays, v_from), '1'), 0),
      nullif(strpos(substr(v_last_weekdays, v_from), '1'), 0),
      case when fields.last_day then v_length - v_from + 1 end);
    if v_day is not null then
      return v_first + (v_from + v_day - 2);
    end if;
    v_first := (v_first + interval '1 month')::date;
    v_month := v_month % 12 + 1;
    v_from := 1;
  end loop;
  return null;
end $$;

create or replace function messenger.next_wall_time(fields messenger.cron_fields, after timestamp)
returns timestamp
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_from timestamp := date_trunc('second', after) + interval '1 second';
  v_today date := v_from::date;
  v_day date := messenger.next_cron_day(fields, v_today);
  v_time int;
  v_hour int;
  v_minute int;
  v_position int;
begin
  if v_day = v_today then
    v_time := extract(epoch from v_from - v_today::timestamp)::int;
    v_hour := v_time / 3600;
    v_minute := v_time / 60 % 60;
    if substr(fields.hours, v_hour + 1, 1) = '1' then
      if substr(fields.minutes, v_minute + 1, 1) = '1' then
        v_position := strpos(substr(fields.seconds, v_time % 60 + 1), '1');
        if v_position > 0 then
          return v_from + (v_position - 1) * interval '1 second';
        end if;
      end if;
      v_position := strpos(substr(fields.minutes, v_minute + 2), '1');
      if v_position > 0 then
        return v_today + make_interval(hours => v_hour, mins => v_minute + v_position, secs => fields.first_second);
      end if;
    end if;
    v_position := strpos(substr(fields.hours, v_hour + 2), '1');
    if v_position > 0 then
      return v_today + make_interval(hours => v_hour + v_position, mins => fields.first_minute,
        secs => fields.first_second);
    end if;
    v_day := messenger.next_cron_day(fields, v_today + 1);
  end if;
  return v_day + make_interval(hours => fields.first_hour, mins => fields.first_minute, secs => fields.first_second);
end $$;

comment on function messenger.read_cron_field(text, text, int, int, text[]) is
  'One field of a cron expression, in upper case, as a mask. Raises SM_CRON with the part that is not understood.';
comment on function messenger.parse_cron(text) is
  'A cron expression of 5 or 6 fields (seconds first), or @yearly, @annually, @monthly, @weekly, @daily, '
  '@midnight or @hourly, as masks. Raises SM_CRON.';
comment on function messenger.next_cron_day(messenger.cron_fields, date) is
  'The first matching day from from_day on; null if there is none within 41 years.';
comment on function messenger.next_wall_time(messenger.cron_fields, timestamp) is
  'The first matching wall-clock time later than after, ignoring changes of '
  'offset; null if there is none within 41 years.';
revoke all on function
  messenger.read_cron_field(text, text, int, int, text[]),
  messenger.parse_cron(text),
  messenger.next_cron_day(messenger.cron_fields, date),
  messenger.next_wall_time(messenger.cron_fields, timestamp)
from public, anon, authenticated;
grant execute on function
  messenger.read_cron_field(text, text, int, int, text[]),
  messenger.parse_cron(text),
  messenger.next_cron_day(messenger.cron_fields, date),
  messenger.next_wall_time(messenger.cron_fields, timestamp)
to service_role;
