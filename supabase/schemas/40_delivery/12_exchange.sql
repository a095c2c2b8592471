-- Exchange: settle and claim in one round trip and one commit, as workers call it.

-- A function with other parameters is another one: beside this one, calls without wait would be ambiguous.
drop function if exists public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]);

-- Returns json: a composite type of schema messenger would be unknown to the API's generated types, and jsonb costs 7.5
-- us per row against 3.1.
create or replace function public.messenger_exchange(
  outcomes jsonb, worker text, batch int default 10, lease interval default '60 s', transport text default null,
  queues text[] default null, types text[] default null, wait interval default '0'
)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
declare
  v_settled messenger.settled[] := messenger.settle_outcomes(outcomes);
begin
  return row_to_json(row(
    v_settled,
    case when wait <> '0'
      then messenger.claim_or_wait(worker, batch, lease, transport, queues, types, wait, outcomes = '[]')
      else messenger.claim_messages(worker, batch, lease, transport, queues, types, true) end)::messenger.exchanged);
end $$;

comment on function public.messenger_exchange(jsonb, text, int, interval, text, text[], text[], interval) is
  'messenger_settle and messenger_claim in one transaction: {"settled": [...], "claimed": [...]}, with the rows of '
  'those functions. wait (default: 0, at most 1 second; a longer one is rejected, because a waiting call holds a '
  'snapshot and a connection): a call with no outcomes that finds no message looks for new messages every 5 ms and for '
  'delayed ones every 50 ms. It returns as soon as it has claimed one, or when the wait has ended. At most two calls '
  'wait at the same time, and a call waits only within 250 ms after one of its worker that requested the same wait and '
  'returned at once, as all other calls do. Errors: those of the two functions, and SM_SETTING for wait. '
  'Example: select messenger_exchange(''[]'', ''worker-1'', batch => 10, wait => ''1 second'').';
revoke all on function
  public.messenger_exchange(jsonb, text, int, interval, text, text[], text[], interval)
from public, anon, authenticated;
grant execute on function
  public.messenger_exchange(jsonb, text, int, interval, text, text[], text[], interval)
to service_role;
