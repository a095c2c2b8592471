-- Counts rows: exactly while that is cheap, otherwise as the planner estimates.

-- A client that polls must not cost a scan of a million rows each time. The planner is queried twice: for the cost of
-- finding bound rows and, if that is too high or there are more, for the number of rows. 15,000 of its cost units were
-- a full read of 130,000 messages: 30 ms from memory, 80 ms from disk. It assumes that conditions are independent:
-- "processed_at is null and status = ..." is estimated at a tenth of the real number, each condition alone is not.
create or replace function messenger.count_rows(query text, args jsonb default '{}', bound int default 10000)
returns table (n bigint, estimated boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = on
set enable_bitmapscan = on
set enable_sort = on
set jit = off
as $$
declare
  v_bounded text := format('select count(*) from (select from (%s) q limit %s) x', query, bound + 1);
  v_plan json;
begin
  n := 0;
  execute 'explain (format json) ' || v_bounded into v_plan using args;
  if (v_plan -> 0 -> 'Plan' ->> 'Total Cost')::float <= 15000 then
    execute v_bounded into n using args;
    estimated := n > bound;
  else
    estimated := true;
  end if;
  if estimated then
    n := greatest(n, messenger.estimate_rows(query, args));
  end if;
  return next;
end $$;

create or replace function messenger.estimate_rows(query text, args jsonb default '{}')
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan json;
begin
  execute 'explain (format json) ' || query into v_plan using args;
  return (v_plan -> 0 -> 'Plan' ->> 'Plan Rows')::numeric::bigint;
end $$;

comment on function messenger.count_rows(text, jsonb, int) is
  'The number of rows of a query: exact up to bound, estimated above it or if counting would be too expensive. The '
  'query is executed as it is, with $1 for args: pass untrusted values in args, never in the text.';
comment on function messenger.estimate_rows(text, jsonb) is
  'The planner''s estimate of the number of rows of a query; $1 is args.';
revoke all on function
  messenger.count_rows(text, jsonb, int),
  messenger.estimate_rows(text, jsonb)
from public, anon, authenticated;
grant execute on function messenger.count_rows(text, jsonb, int), messenger.estimate_rows(text, jsonb) to service_role;
