-- Parses schedules: arguments become a row of messenger_schedules or an error that names the field.

-- pg_timezone_names reads every zone file (30 ms here), so a session caches the names it has
-- checked. Called only when a schedule is saved.
create or replace function messenger.check_timezone(timezone text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_checked text := coalesce(current_setting('messenger.checked_zones', true), '');
begin
  if timezone = 'UTC' or timezone = any (string_to_array(v_checked, ' ')) then
    return;
  end if;
  -- Postgres itself accepts Foo+99 and EST5EDT4. Three names of the list are abbreviations with a fixed offset.
  if timezone ~ '^[A-Za-z][A-Za-z0-9/_+-]*$'
    and timezone !~ '^(EST|MST|HST|Factory|localtime|posixrules|posix/.*|right/.*)$'
    and exists (select from pg_catalog.pg_timezone_names n where n.name = check_timezone.timezone) then
    perform set_config('messenger.checked_zones', right(concat_ws(' ', nullif(v_checked, ''), timezone), 1000), false);
    return;
  end if;
  perform messenger.raise_error('SM_TIMEZONE', format('"%s"', left(timezone, 60)));
end $$;

create or replace function messenger.read_whole(value jsonb, lowest bigint, highest bigint)
returns bigint
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(value) <> 'number' or value < to_jsonb(lowest) or value > to_jsonb(highest)
    or value::numeric % 1 <> 0 then
    return null;
  end if;
  return value::bigint;
end $$;

create or replace function messenger.read_options(options jsonb)
returns public.messenger_schedules
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.messenger_schedules;
  v_option record;
  v_value jsonb;
  v_text text;
  v_is_valid boolean;
begin
  v_row.misfire := 'fire_once';
  v_row.misfire_grace_ms := 60000;
  v_row.catch_up_limit := 100;
  v_row.dst_gap := 'run_after';
  v_row.dst_overlap := 'first';
  v_row.overlap := 'allow';
  v_row.jitter_ms := 0;
  v_row.headers := '{}';
  if jsonb_typeof(options) <> 'object' then
    perform messenger.raise_error('SM_SCHEDULE', 'options must be a JSON object', 'pass {} for the defaults');
  end if;
  for v_option in select o.key, o.value from jsonb_each(options) o loop
    v_value := v_option.value;
    v_text := case when jsonb_typeof(v_value) = 'string' then v_value #>> '{}' end;
    -- Null removes a limit or bound. Options that have a default do not accept null.
    continue when v_value = 'null' and v_option.key in ('max_runs', 'starts_at', 'ends_at');
    case v_option.key
      when 'transport_name' then v_row.transport_name := v_text; v_is_valid := v_text is not null;
      when 'queue_name' then v_row.queue_name := v_text; v_is_valid := v_text is not null;
      when 'headers' then v_row.headers := v_value; v_is_valid := true;
      when 'enabled' then
        v_is_valid := jsonb_typeof(v_value) = 'boolean';
        v_row.enabled := v_value = 'true';
      when 'max_runs' then
        v_row.max_runs := messenger.read_whole(v_value, 1, 9007199254740991);
        v_is_valid := v_row.max_runs is not null;
      when 'starts_at' then
        v_row.starts_at := messenger.read_moment(v_value);
        v_is_valid := v_row.starts_at is not null;
      when 'ends_at' then
        v_row.ends_at := messenger.read_moment(v_value);
        v_is_valid := v_row.ends_at is not null;
      when 'misfire' then v_row.misfire := v_text; v_is_valid := v_text in ('fire_once', 'skip', 'catch_up');
      when 'misfire_grace_ms' then
        v_row.misfire_grace_ms := messenger.read_whole(v_value, 0, 31622400000);
        v_is_valid := v_row.misfire_grace_ms is not null;
      when 'catch_up_limit' then
        v_row.catch_up_limit := messenger.read_whole(v_value, 1, 1000)::int;
        v_is_valid := v_row.catch_up_limit is not null;
      when 'dst_gap' then v_row.dst_gap := v_text; v_is_valid := v_text in ('run_after', 'skip');
      when 'dst_overlap' then v_row.dst_overlap := v_text; v_is_valid := v_text in ('first', 'second', 'both');
      when 'overlap' then v_row.overlap := v_text; v_is_valid := v_text in ('allow', 'skip', 'replace');
      when 'jitter_ms' then
        v_row.jitter_ms := messenger.read_whole(v_value, 0, 31622400000);
        v_is_valid := v_row.jitter_ms is not null;
      else perform messenger.raise_error('SM_SCHEDULE', format('unknown option "%s"', left(v_option.key, 60)),
        'options are named as the columns of messenger_schedules');
    end case;
    if v_is_valid is not true then
      perform messenger.raise_error('SM_SCHEDULE', 'options.' || v_option.key, case
        when v_option.key in ('transport_name', 'queue_name') then 'pass a string'
        when v_option.key = 'enabled' then 'pass true or false'
        when v_option.key = 'max_runs' then 'pass a whole number from 1 to 9007199254740991, or null for no limit'
        when v_option.key in ('starts_at', 'ends_at') then 'pass an ISO 8601 moment with a zone, or null for no bound'
        when v_option.key = 'misfire' then 'use fire_once (default), skip or catch_up'
        when v_option.key = 'catch_up_limit' then 'pass a whole number from 1 to 1000; default: 100'
        when v_option.key = 'dst_gap' then 'use run_after (default) or skip'
        when v_option.key = 'dst_overlap' then 'use first (default), second or both'
        when v_option.key = 'overlap' then 'use allow (default), skip or replace'
        else 'pass a whole number of milliseconds from 0 to 31622400000 (366 days)'
        end);
    end if;
  end loop;
  if v_row.starts_at >= v_row.ends_at then
    perform messenger.raise_error('SM_SCHEDULE', 'options.ends_at must be later than options.starts_at',
      'change one of them, or leave it out');
  end if;
  return v_row;
end $$;

create or replace function messenger.read_schedule(schedule jsonb, timezone text, options jsonb, at timestamptz)
returns public.messenger_schedules
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.messenger_schedules := messenger.read_options(coalesce(options, '{}'));
  v_kinds text[];
  v_unknown text;
  v_run timestamptz;
  v_next timestamptz;
begin
  if schedule is null or jsonb_typeof(schedule) <> 'object' then
    perform messenger.raise_error('SM_SCHEDULE', 'the schedule must be a JSON object',
      'pass {"cron": ...}, {"interval": ms, "startAt"?} or {"at": moment}');
  end if;
  select array_agg(k.key) filter (where k.key in ('cron', 'interval', 'at')),
    min(k.key) filter (where k.key not in ('cron', 'interval', 'at')
      and not (k.key = 'startAt' and schedule ? 'interval'))
  into v_kinds, v_unknown from jsonb_object_keys(schedule) as k(key);
  if v_unknown is not null then
    perform messenger.raise_error('SM_SCHEDULE', format('unknown field "%s"', left(v_unknown, 60)),
      'use cron, at, or interval with startAt');
  elsif cardinality(v_kinds) is distinct from 1 then
    perform messenger.raise_error('SM_SCHEDULE', 'the schedule must have exactly one of cron, interval, at',
      'remove the others');
  end if;
  perform messenger.check_timezone(coalesce(timezone, 'UTC'));
  v_row.timezone := coalesce(timezone, 'UTC');
  v_row.schedule_config := schedule;
  v_row.schedule_type := case v_kinds[1] when 'at' then 'once' else v_kinds[1] end;
  v_row.created_at := date_trunc('milliseconds', at);

  case v_row.schedule_type
    when 'cron' then
      if jsonb_typeof(schedule -> 'cron') <> 'string' then
        perform messenger.raise_error('SM_CRON', 'cron must be a string');
      end if;
      v_run := (messenger.next_cron_run(
        messenger.parse_cron(schedule ->> 'cron'), v_row.timezone, greatest(at, v_row.starts_at), v_row.dst_gap,
        v_row.dst_overlap)).run_at;
      if v_run is null then
        perform messenger.raise_error('SM_CRON_NEVER', format('"%s"', left(schedule ->> 'cron', 100)));
      end if;
      -- The period of a cron expression is the shortest distance between its next ten runs.
      for v_turn in 1..case when v_row.jitter_ms > 0 then 10 else 0 end loop
        v_next := (messenger.next_run(v_row, v_run)).run_at;
        exit when v_next is null;
        if v_next - v_run < v_row.jitter_ms * interval '1 millisecond' then
          perform messenger.raise_error('SM_SCHEDULE', 'options.jitter_ms must be at most the period of the schedule',
            'use a smaller jitter_ms, or a longer period');
        end if;
        v_run := v_next;
      end loop;
    when 'interval' then
      if messenger.read_whole(schedule -> 'interval', 1000, 31622400000) is null then
        perform messenger.raise_error('SM_INTERVAL', left(schedule ->> 'interval', 40));
      elsif schedule ? 'startAt' and messenger.read_moment(schedule -> 'startAt') is null then
        perform messenger.raise_error('SM_SCHEDULE', 'startAt must be a moment with a zone',
          'use ISO 8601 with a zone, for example 2030-01-31T09:00:00Z');
      elsif v_row.jitter_ms > (schedule -> 'interval')::bigint then
        perform messenger.raise_error('SM_SCHEDULE', 'options.jitter_ms must be at most the period of the schedule',
            'use a smaller jitter_ms, or a longer period');
      end if;
      -- 60000.0 is a whole number, but the cast of its text to bigint fails.
      v_row.schedule_config := schedule || jsonb_build_object('interval', (schedule -> 'interval')::bigint);
    else
      if messenger.read_moment(schedule -> 'at') is null then
        perform messenger.raise_error('SM_SCHEDULE', 'at must be a moment with a zone',
          'use ISO 8601 with a zone, for example 2030-01-31T09:00:00Z');
      end if;
  end case;
  return v_row;
end $$;

comment on function messenger.check_timezone(text) is 'Raises SM_TIMEZONE if the name is not an IANA time zone.';
comment on function messenger.read_whole(jsonb, bigint, bigint) is
  'A JSON number as a whole number between lowest and highest; null for anything else.';
comment on function messenger.read_options(jsonb) is
  'Options of a schedule, named as its columns, with defaults for those left out; enabled, transport_name and '
  'queue_name stay null. Raises SM_SCHEDULE with the name of an invalid option.';
comment on function messenger.read_schedule(jsonb, text, jsonb, timestamptz) is
  'The columns of messenger_schedules that define when it runs. Raises SM_SCHEDULE, '
  'SM_CRON, SM_CRON_NEVER, SM_INTERVAL, SM_TIMEZONE.';
revoke all on function
  messenger.check_timezone(text),
  messenger.read_whole(jsonb, bigint, bigint),
  messenger.read_options(jsonb),
  messenger.read_schedule(jsonb, text, jsonb, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.check_timezone(text),
  messenger.read_whole(jsonb, bigint, bigint),
  messenger.read_options(jsonb),
  messenger.read_schedule(jsonb, text, jsonb, timestamptz)
to service_role;
