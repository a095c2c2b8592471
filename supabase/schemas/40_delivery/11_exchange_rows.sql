-- The exchange for workers with a database connection: arrays in and rows out instead of JSON, which halves its cost at
-- batches of a hundred.

-- Completions given as arrays. What messenger.settle_arrays cannot record, because a row is locked or cannot be
-- written, is recorded as messenger_settle does it.
create or replace function messenger.settle_completed(
  ids uuid[], fences bigint[], durations double precision[], results jsonb[], at timestamptz
)
returns messenger.settled[]
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $$
declare
  v_settled messenger.settled[];
  v_outcomes jsonb;
begin
  begin
    v_settled := messenger.settle_arrays(
      ids, fences, null, durations, case when results is not null then messenger.cap_results(results) end, null, at);
    if v_settled is null or 'locked' <> all (array(select s.outcome from unnest(v_settled) s)) then
      return v_settled;
    end if;
  exception when others then
    if not messenger.is_row_error(sqlstate) then
      raise;
    end if;
  end;
  v_outcomes := (
    select jsonb_agg(jsonb_build_object('id', c.id, 'fence', c.fence, 'outcome', 'completed', 'result', c.result,
      'duration_ms', c.duration) order by c.ord)
    from unnest(ids, fences, durations, results) with ordinality as c(id, fence, duration, result, ord));
  return case when v_settled is null then messenger.settle_outcomes(v_outcomes)
    else messenger.settle_locked(v_outcomes, v_settled) end;
end $$;

create or replace function messenger.exchange_rows(
  ids uuid[], fences bigint[], durations double precision[], results jsonb[], others jsonb,
  worker text, batch int default 10, lease interval default '60 s', transport text default null,
  queues text[] default null, types text[] default null
)
returns table (
  settled_id uuid, outcome text, available_at timestamptz,
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int,
  max_retries int, fence bigint, lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
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
#variable_conflict use_column
declare
  v_settled messenger.settled[];
begin
  if cardinality(ids) > 0 then
    if cardinality(ids) > 1000 then
      perform messenger.raise_error('SM_BATCH_TOO_LARGE');
    elsif num_nulls(variadic ids::text[] || fences::text[]) > 0 or cardinality(fences) <> cardinality(ids) then
      perform messenger.raise_error('SM_OUTCOME', 'ids and fences must have the same length and no nulls');
    end if;
    v_settled := messenger.settle_completed(ids, fences, durations, results, messenger.now());
  end if;
  if others is not null then
    v_settled := v_settled || messenger.settle_outcomes(others);
  end if;
  if v_settled is not null then
    return query
    select s.id, s.outcome, s.available_at, null::uuid, null::text, null::text, null::jsonb, null::jsonb, null::jsonb,
      null::int, null::int, null::int, null::bigint, null::timestamptz, null::timestamptz, null::boolean
    from unnest(v_settled) s where s.outcome <> 'completed';
  end if;
  return query
  select null::uuid, null::text, null::timestamptz, c.*
  from unnest(messenger.claim_messages(worker, batch, lease, transport, queues, types, true)) c;
end $$;

comment on function messenger.settle_completed(uuid[], bigint[], double precision[], jsonb[], timestamptz) is
  'Records completions given as arrays. Returns one row per completion in the same order; null if all were recorded.';
comment on function messenger.exchange_rows(
  uuid[], bigint[], double precision[], jsonb[], jsonb, text, int, interval, text, text[], text[]
) is
  'messenger_exchange for a worker with a database connection, with the same effects. ids, fences, durations '
  '(milliseconds) and results are those of up to 1000 completed messages, or null; durations and results may be null '
  'as a whole or in places. others: all other outcomes, in the form of messenger_settle, or null. '
  'Returns one row per outcome that was not recorded as completed (settled_id, outcome, available_at, as of '
  'messenger_settle; id is null), then one per claimed message, with the columns of messenger_claim. '
  'Example: select * from messenger.exchange_rows(null, null, null, null, null, ''worker-1'', batch => 10). '
  'Errors: SM_OUTCOME, SM_BATCH_TOO_LARGE and those of messenger_claim.';
revoke all on function
  messenger.settle_completed(uuid[], bigint[], double precision[], jsonb[], timestamptz),
  messenger.exchange_rows(
    uuid[], bigint[], double precision[], jsonb[], jsonb, text, int, interval, text, text[], text[]
  )
from public, anon, authenticated;
grant execute on function
  messenger.settle_completed(uuid[], bigint[], double precision[], jsonb[], timestamptz),
  messenger.exchange_rows(
    uuid[], bigint[], double precision[], jsonb[], jsonb, text, int, interval, text, text[], text[]
  )
to service_role;
