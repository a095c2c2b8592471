-- Scan watermarks: where a session's next scan of a queue begins, so that scans stay short while dead index entries
-- cannot be vacuumed.

-- Per priority, the position before which the session's last scan found no message to take. While a transaction holds a
-- snapshot, the index keeps an entry for every message finished since, and each scan would visit them all: the rate
-- fell to a third in 75 s, with watermarks it stayed constant.
-- A watermark is only an optimization. It ends after at most 5 s, or if the clock is before the time it was stored;
-- then a scan without it follows. Messages that become visible behind it (a late commit, an expired lease, a returned
-- message) wait at most that long.
-- It is a setting of the session, {"placed", "ends", "times": [ten], "ids": [ten]}, named by everything a scan filters
-- on: otherwise the watermark of one worker would hide the messages of another. In JSON its timestamps are ISO 8601,
-- whatever the session's DateStyle.
create or replace function messenger.watermark_setting(transport text, queue text, types text[])
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return 'messenger.scan_mark_'
    || replace(hashtextextended(concat_ws('/', transport, queue, types::text), 0)::text, '-', 'n');
end $$;

-- The record has no values if none is stored, or it has ended.
create or replace function messenger.read_watermark(
  setting text, at timestamptz, out ends_at timestamptz, out times timestamptz[], out ids uuid[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := current_setting(setting, true);
  v_watermark jsonb;
begin
  if v_text <> '' then
    v_watermark := v_text::jsonb;
    if at between (v_watermark ->> 'placed')::timestamptz and (v_watermark ->> 'ends')::timestamptz then
      ends_at := (v_watermark ->> 'ends')::timestamptz;
      times := array(
        select t::timestamptz from jsonb_array_elements_text(v_watermark -> 'times') with ordinality x(t, n)
        order by n);
      ids := array(
        select i::uuid from jsonb_array_elements_text(v_watermark -> 'ids') with ordinality x(i, n) order by n);
    end if;
  end if;
end $$;

-- After a slow scan, stores the watermarks; after a fast one that began at the beginning, drops them. Slow is
-- longer than 500 us (setting messenger.watermark_after) and 2 us per message: a scan takes 50 us, but a busy machine
-- must not pass for a cluttered index. The margin is for transactions that commit a little later than the time they
-- wrote into available_at.
-- lowest: the lowest priority that was scanned to its end; below it the positions stay the same. It is last, with a
-- default: a scan of 0.1.0 that waits while the upgrade commits calls the function without it.
create or replace function messenger.store_watermark(
  setting text, ends_at timestamptz, from_times timestamptz[], from_ids uuid[], batch int, ctids tid[],
  took interval, at timestamptz, lowest int default null
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_times timestamptz[] := coalesce(from_times, array_fill('-infinity'::timestamptz, array[10]));
  v_ids uuid[] := coalesce(from_ids, array_fill('00000000-0000-0000-0000-000000000000'::uuid, array[10]));
  v_margin timestamptz := at - interval '250 milliseconds';
  v_found record;
  v_first int;
  v_lowest int := coalesce(lowest, 1);
begin
  select array_agg(m.priority order by x.n) as priorities, array_agg(m.available_at order by x.n) as times,
    array_agg(m.id order by x.n) as ids
  into v_found
  from unnest(ctids) with ordinality as x(tid, n) join public.messenger_messages m on m.ctid = x.tid;
  -- A full batch ended the scan within this priority: below it nothing was scanned.
  if cardinality(ctids) >= batch then
    v_lowest := v_found.priorities[batch];
  end if;
  for v_level in v_lowest..10 loop
    v_first := array_position(v_found.priorities, v_level);
    if v_first is not null and v_found.times[v_first] < v_margin then
      v_times[v_level] := v_found.times[v_first];
      v_ids[v_level] := v_found.ids[v_first];
    else
      v_times[v_level] := v_margin;
      v_ids[v_level] := '00000000-0000-0000-0000-000000000000';
    end if;
  end loop;
  perform set_config(setting, jsonb_build_object(
    'placed', at, 'ends', coalesce(ends_at, at + least(interval '5 seconds', greatest(interval '1 second', 20 * took))),
    'times', v_times, 'ids', v_ids)::text, false), set_config('messenger.has_watermarks', 'true', false);
end $$;

comment on function messenger.watermark_setting(text, text, text[]) is
  'The session setting that holds the watermarks of one queue and selection of types.';
comment on function messenger.read_watermark(text, timestamptz) is
  'The watermarks in this setting of the session: when they end, and the positions by priority. Nulls if there are '
  'none.';
comment on function messenger.store_watermark(
  text, timestamptz, timestamptz[], uuid[], int, tid[], interval, timestamptz, int
) is
  'Stores the positions of a slow scan for the next scan of the session.';
revoke all on function
  messenger.watermark_setting(text, text, text[]),
  messenger.read_watermark(text, timestamptz),
  messenger.store_watermark(text, timestamptz, timestamptz[], uuid[], int, tid[], interval, timestamptz, int)
from public, anon, authenticated;
grant execute on function
  messenger.watermark_setting(text, text, text[]),
  messenger.read_watermark(text, timestamptz),
  messenger.store_watermark(text, timestamptz, timestamptz[], uuid[], int, tid[], interval, timestamptz, int)
to service_role;
