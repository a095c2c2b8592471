-- Rolls up measurements: adds them to the metrics and deletes them.

-- While a transaction holds an old snapshot, rows that were rolled up cannot be vacuumed, and reading them all every
-- second would cost more and more. So only a range of blocks is read per tick.
create or replace function messenger.roll_up_range(
  out tail bigint, out sweep bigint, out blocks bigint, out chunk bigint
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  chunk := coalesce(nullif(current_setting('messenger.roll_up_blocks', true), '')::bigint, 2000);
  blocks := pg_relation_size('messenger.measurements') / current_setting('block_size')::int;
  tail := coalesce((select c.roll_up_tail from messenger.clock c), 0);
  sweep := coalesce((select c.roll_up_sweep from messenger.clock c), 0);
  -- The table is short enough to be read whole, or a crash or vacuum has truncated it.
  if blocks <= chunk or tail > blocks then
    tail := 0;
    sweep := 0;
  end if;
end $$;

create or replace function messenger.measurements_set_aside()
returns bigint[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg((s.row_id::jsonb ->> 'id')::bigint), '{}') from messenger.set_aside s
  where s.step = 'roll_up' and s.object = 'messenger.measurements'
$$;

-- The measurements are deleted and counted together or not at all.
create or replace function messenger.roll_up_rows(row_ids text[])
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_taken messenger.measurements[];
begin
  with taken as (
    delete from messenger.measurements m
    where m.id = any (array(select (x.row_id::jsonb ->> 'id')::bigint from unnest(row_ids) x(row_id)))
    returning m.*
  )
  select array_agg(row(t.*)::messenger.measurements) into v_taken from taken t;
  if v_taken is not null then
    perform messenger.add_metrics(v_taken);
    perform messenger.add_metric_errors(v_taken);
    perform messenger.count_deleted(v_taken);
  end if;
  return jsonb_build_object('rolled_up', coalesce(cardinality(v_taken), 0));
end $$;

-- Deletes and counts in one transaction, so each measurement counts once even after a crash.
create or replace function messenger.roll_up_ranges(
  tail_from tid, tail_to tid, sweep_from tid, sweep_to tid, aside bigint[]
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_taken messenger.measurements[];
begin
  with newest as (
    delete from messenger.measurements m where m.ctid >= tail_from and m.ctid < tail_to and m.id <> all (aside)
    returning m.*
  ),
  swept as (
    delete from messenger.measurements m where m.ctid >= sweep_from and m.ctid < sweep_to and m.id <> all (aside)
    returning m.*
  )
  select array_agg(row(t.*)::messenger.measurements) into v_taken
  from (select * from newest union all select * from swept) t;
  if v_taken is null then
    return 0;
  end if;
  perform messenger.add_metrics(v_taken);
  perform messenger.add_metric_errors(v_taken);
  perform messenger.count_deleted(v_taken);
  return cardinality(v_taken);
end $$;

-- Messages deleted on completion: a row of its own in each settle would cost 15 us.
create or replace function messenger.count_deleted(measurements messenger.measurements[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.pruned (transport_name, message_count, at)
  select p.transport_name, sum(p.deleted_count), max(p.at) from unnest(measurements) p
  where p.deleted_count > 0 group by p.transport_name;
end $$;

-- One roll-up runs at a time. Of a long table, the tail is read every second and the rest in turns, because a
-- session may still insert or commit a row there. A range that cannot be counted as a whole is counted row by
-- row; rows that cannot be counted are set aside.
create or replace function messenger.roll_up(
  at timestamptz default messenger.now(), ends_at timestamptz default 'infinity'
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_object constant text := 'messenger.measurements';
  v_range record;
  v_tail_from tid;
  v_tail_to tid;
  v_sweep_from tid;
  v_sweep_to tid;
  v_aside bigint[];
  v_rows text[];
  v_rolled_up bigint;
begin
  if not messenger.try_lock('roll_up') then
    return 0;
  end if;
  v_range := messenger.roll_up_range();
  v_tail_from := format('(%s,0)', v_range.tail)::tid;
  -- The table may have grown since it was measured.
  v_tail_to := case
    when v_range.tail + v_range.chunk >= v_range.blocks then '(4294967295,0)'::tid
    else format('(%s,0)', v_range.tail + v_range.chunk)::tid
  end;
  v_sweep_from := format('(%s,0)', v_range.sweep)::tid;
  v_sweep_to := format('(%s,0)', least(v_range.sweep + v_range.chunk, v_range.tail))::tid;
  v_aside := messenger.measurements_set_aside();

  begin
    v_rolled_up := messenger.roll_up_ranges(v_tail_from, v_tail_to, v_sweep_from, v_sweep_to, v_aside);
    set constraints all immediate;
  exception when others or assert_failure then
    v_rows := array(
      select jsonb_build_object('id', m.id)::text from messenger.measurements m
      where (m.ctid >= v_tail_from and m.ctid < v_tail_to or m.ctid >= v_sweep_from and m.ctid < v_sweep_to)
        and m.id <> all (v_aside)
      order by m.id limit 10000);
    v_rolled_up := coalesce(
      (messenger.write_each('roll_up', v_object, v_rows, at, ends_at) ->> 'rolled_up')::bigint, 0);
  end;
  v_rows := array(select s.row_id from messenger.set_aside s where s.step = 'roll_up' and s.object = v_object
    and s.retry_at <= roll_up.at order by s.retry_at limit 100);
  if v_rows <> '{}' then
    v_rolled_up := v_rolled_up
      + coalesce((messenger.write_each('roll_up', v_object, v_rows, at, ends_at) ->> 'rolled_up')::bigint, 0);
  end if;

  if v_range.blocks > v_range.chunk or v_range.tail + v_range.sweep > 0 then
    update messenger.clock c
    -- Sessions keep half-filled pages, and extend the table by many pages at once.
    set roll_up_tail = greatest(0, least(v_range.blocks - least(128, v_range.chunk / 2), v_range.tail + v_range.chunk)),
        roll_up_sweep = case
          when v_range.sweep + v_range.chunk < v_range.tail then v_range.sweep + v_range.chunk else 0 end
    where c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  end if;
  return v_rolled_up;
end $$;

comment on function messenger.roll_up_range() is
  'The blocks to read: tail and sweep are the first blocks of two ranges, chunk the blocks '
  'per range, and blocks the size of the table.';
comment on function messenger.measurements_set_aside() is 'Ids of measurements that could not be counted.';
comment on function messenger.roll_up_rows(text[]) is
  'Adds the measurements with these keys to the metrics. Returns {"rolled_up": number}.';
comment on function messenger.roll_up_ranges(tid, tid, tid, tid, bigint[]) is
  'Adds the measurements of two ranges of blocks to the metrics, except those set aside. Returns their number.';
comment on function messenger.count_deleted(messenger.measurements[]) is
  'Adds the messages that were deleted on completion to messenger.pruned.';
comment on function messenger.roll_up(timestamptz, timestamptz) is
  'Adds new measurements to the metrics; a measurement that cannot be counted is set '
  'aside. Returns the number of measurements.';
revoke all on function
  messenger.roll_up_range(),
  messenger.measurements_set_aside(),
  messenger.roll_up_rows(text[]),
  messenger.roll_up_ranges(tid, tid, tid, tid, bigint[]),
  messenger.count_deleted(messenger.measurements[]),
  messenger.roll_up(timestamptz, timestamptz)
from public, anon, authenticated, service_role;
grant execute on function messenger.roll_up_range(), messenger.measurements_set_aside() to service_role;
