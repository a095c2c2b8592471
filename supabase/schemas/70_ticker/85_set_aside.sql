-- Writes rows so that one that cannot be written does not block the others: it is found
-- by bisection, set aside and tried again later.

create or replace function messenger.row_ids(ids uuid[])
returns text[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when ids = '{}' then '{}' else array(
    select jsonb_build_object('id', x.id)::text from unnest(ids) with ordinality as x(id, n) order by x.n) end;
end $$;

create or replace function messenger.uuids_of(row_ids text[])
returns uuid[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(select (x.row_id::jsonb ->> 'id')::uuid from unnest(row_ids) with ordinality as x(row_id, n)
    order by x.n);
end $$;

-- A null argument counts as no figures.
create or replace function messenger.add_figures(a jsonb, b jsonb)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  if a is null or b is null or b = '{}' then
    return coalesce(a, b);
  end if;
  return a || (select coalesce(jsonb_object_agg(x.key, x.value::bigint + coalesce((a ->> x.key)::bigint, 0)), '{}')
    from jsonb_each_text(b) x);
end $$;

-- Callers test the rows they are about to write, not every row they scan.
create or replace function messenger.is_set_aside(step text, object text, row_id text, at timestamptz)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from messenger.set_aside s
    where s.step = is_set_aside.step and s.object = is_set_aside.object and s.row_id = is_set_aside.row_id
      and s.retry_at > is_set_aside.at)
$$;

create or replace function messenger.without_set_aside(step text, object text, row_ids text[], at timestamptz)
returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if row_ids = '{}' or not exists (select from messenger.set_aside s where s.step = without_set_aside.step) then
    return row_ids;
  end if;
  return array(
    select x.row_id from unnest(row_ids) with ordinality as x(row_id, n)
    where not messenger.is_set_aside(step, object, x.row_id, at)
    order by x.n);
end $$;

create or replace function messenger.key_join(object regclass)
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('(select r.* from unnest($1) as x(row_id) cross join lateral jsonb_populate_record(null::%s, '
    'x.row_id::jsonb) r) k where %s',
    object, string_agg(format('t.%1$I = k.%1$I', a.attname), ' and '))
  from pg_catalog.pg_index i join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
  where i.indrelid = object and i.indisprimary
$$;

-- The caller has checked the conditions and locked the rows.
create or replace function messenger.delete_rows(object text, row_ids text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
  execute format('delete from %s t using %s', object::regclass, messenger.key_join(object::regclass)) using row_ids;
end $$;

-- A step without a function of its own deletes the rows.
create or replace function messenger.write_rows(step text, object text, row_ids text[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  case step
    when 'rescue' then return messenger.rescue_messages(messenger.uuids_of(row_ids), at);
    when 'unblock' then return messenger.unblock_keys(row_ids, at);
    when 'replays' then return messenger.watch_replay(row_ids, at);
    when 'schedules' then return messenger.expand_locked_schedules(messenger.uuids_of(row_ids), at);
    when 'prune_messages' then return messenger.delete_messages(messenger.uuids_of(row_ids), at);
    when 'roll_up' then return messenger.roll_up_rows(row_ids);
    else
      perform messenger.delete_rows(object, row_ids);
      return '{}'::jsonb;
  end case;
end $$;

create or replace function messenger.set_row_aside(
  step text, object text, row_id text, error text, sqlstate text, at timestamptz
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
  insert into messenger.set_aside as s (step, object, row_id, error, sqlstate, at, retry_at)
  values (step, object, row_id, left(error, 1000), sqlstate, at, at + interval '1 minute')
  on conflict on constraint set_aside_pkey do update
  set error = excluded.error, sqlstate = excluded.sqlstate, at = excluded.at, attempts = s.attempts + 1,
      retry_at = excluded.at + least(interval '1 hour', interval '1 minute' * power(2, least(s.attempts, 10)));
end $$;

-- All rows are written together first. A failing range is undone and halved until the faulty row
-- is alone: at most ten failures per thousand rows. Halves that succeed stay written, so a tick
-- that runs out of time has still made progress.
create or replace function messenger.write_each(
  step text, object text, row_ids text[], at timestamptz, ends_at timestamptz
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_figures jsonb := '{}'::jsonb;
  v_written jsonb;
  v_from int[] := array[1];
  v_to int[] := array[cardinality(row_ids)];
  v_depth int := 1;
  v_first int;
  v_last int;
  v_is_narrowing boolean;
  v_error text;
  v_state text;
  v_has_set_aside boolean;
begin
  if row_ids = '{}' then
    return '{}'::jsonb;
  end if;
  v_has_set_aside := exists (select from messenger.set_aside s where s.step = write_each.step);
  while v_depth > 0 loop
    v_first := v_from[v_depth];
    v_last := v_to[v_depth];
    v_depth := v_depth - 1;
    v_is_narrowing := false;
    begin
      v_written := messenger.write_rows(step, object, row_ids[v_first:v_last], at);
      set constraints all immediate;
      if v_has_set_aside then
        delete from messenger.set_aside s where s.step = write_each.step and s.object = write_each.object
          and s.row_id = any (row_ids[v_first:v_last]);
      end if;
      v_figures := messenger.add_figures(v_figures, v_written);
    exception when others or assert_failure then
      get stacked diagnostics v_error = message_text, v_state = returned_sqlstate;
      -- Errors of memory, disk or shutdown are not caused by a row.
      if left(v_state, 2) in ('53', '57', '58') then
        raise;
      elsif v_first < v_last then
        v_is_narrowing := true;
        v_from[v_depth + 1] := (v_first + v_last + 1) / 2;
        v_to[v_depth + 1] := v_last;
        v_from[v_depth + 2] := v_first;
        v_to[v_depth + 2] := (v_first + v_last + 1) / 2 - 1;
        v_depth := v_depth + 2;
      else
        perform messenger.set_row_aside(step, object, row_ids[v_first], v_error, v_state, at);
        -- Each wait for a lock costs lock_timeout, and the lock may be on a table that all rows need.
        exit when messenger.is_lock_error(v_state);
      end if;
    end;
    exit when not v_is_narrowing and clock_timestamp() > ends_at;
  end loop;
  return v_figures;
end $$;

create or replace function messenger.is_lock_error(sqlstate text)
returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select sqlstate in ('55P03', '40P01', '40001') $$;

-- Records of deleted rows go, and those whose step has not tried the row for an hour. The keys of a type without a
-- table, such as messenger.order_key, cannot be looked up.
create or replace function messenger.forget_set_aside(at timestamptz, batch int)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row record;
  v_join text;
  v_exists boolean;
  v_forgotten bigint := 0;
begin
  for v_row in
    select s.step, s.object, s.row_id, s.retry_at from messenger.set_aside s
    where s.retry_at <= forget_set_aside.at order by s.retry_at limit batch for update skip locked
  loop
    v_exists := v_row.retry_at > at - interval '1 hour';
    v_join := messenger.key_join(to_regclass(v_row.object));
    if v_exists and v_join is not null then
      execute format('select exists (select from %s t, %s)', v_row.object::regclass, v_join) into v_exists
        using array[v_row.row_id];
    end if;
    if not v_exists then
      delete from messenger.set_aside s where s.step = v_row.step and s.object = v_row.object
        and s.row_id = v_row.row_id;
      v_forgotten := v_forgotten + 1;
    end if;
  end loop;
  return v_forgotten;
end $$;

comment on function messenger.row_ids(uuid[]) is 'Ids as keys in the form of messenger.set_aside: {"id": ...}.';
comment on function messenger.uuids_of(text[]) is 'The ids of such keys.';
comment on function messenger.add_figures(jsonb, jsonb) is 'Adds two JSON objects of whole numbers key by key.';
comment on function messenger.is_set_aside(text, text, text, timestamptz) is
  'True if the row is set aside for this step and its retry is not due yet.';
comment on function messenger.without_set_aside(text, text, text[], timestamptz) is
  'The given keys without those that are set aside for this step.';
comment on function messenger.key_join(regclass) is
  'SQL that joins a table t with the rows whose keys are in $1, by the primary key; null if there is no primary key.';
comment on function messenger.delete_rows(text, text[]) is 'Deletes the rows of a table with these keys.';
comment on function messenger.write_rows(text, text, text[], timestamptz) is
  'Does the work of a step on these rows of a table. Returns figures for the reply of the tick.';
comment on function messenger.set_row_aside(text, text, text, text, text, timestamptz) is
  'Sets a row aside: the retry is due after a minute, then after twice the previous delay, at most an hour.';
comment on function messenger.write_each(text, text, text[], timestamptz, timestamptz) is
  'messenger.write_rows for rows of which some cannot be written: those are set aside, the others are written. Stops '
  'between two attempts once ends_at has passed.';
comment on function messenger.is_lock_error(text) is
  'True if this SQLSTATE means that another transaction was in the way.';
comment on function messenger.forget_set_aside(timestamptz, int) is
  'Deletes at most batch records of rows that are gone or no longer wanted. Returns their number.';
revoke all on function
  messenger.row_ids(uuid[]),
  messenger.uuids_of(text[]),
  messenger.add_figures(jsonb, jsonb),
  messenger.is_set_aside(text, text, text, timestamptz),
  messenger.without_set_aside(text, text, text[], timestamptz),
  messenger.key_join(regclass),
  messenger.delete_rows(text, text[]),
  messenger.write_rows(text, text, text[], timestamptz),
  messenger.set_row_aside(text, text, text, text, text, timestamptz),
  messenger.write_each(text, text, text[], timestamptz, timestamptz),
  messenger.is_lock_error(text),
  messenger.forget_set_aside(timestamptz, int)
from public, anon, authenticated, service_role;
