-- Settling: all outcomes are recorded here, and only with the current fencing token.

-- Outcomes other than completed, of rows that the caller has locked.
create or replace function messenger.settle_rest(
  ids uuid[], rest messenger.outcome[], ords bigint[], dispositions text[], at timestamptz
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_retried uuid[] := array(
    select ids[c.ord] from unnest(ords, dispositions) as c(ord, disposition) where c.disposition = 'retry');
  v_dead uuid[] := array(
    select ids[c.ord] from unnest(ords, dispositions) as c(ord, disposition) where c.disposition = 'dead');
  v_cancelled uuid[] := array(
    select ids[c.ord] from unnest(ords, dispositions) as c(ord, disposition) where c.disposition = 'cancelled');
  v_invalid uuid[] := array(
    select ids[c.ord] from unnest(ords, dispositions) as c(ord, disposition) where c.disposition = 'invalid');
begin
  insert into messenger.attempts (message_id, fence, at, worker, error, error_class, error_trace, duration_ms)
  select m.id, m.fence, settle_rest.at, m.locked_by, r.error, r.error_class, r.error_trace,
    coalesce(r.duration_ms, (extract(epoch from settle_rest.at - m.locked_at) * 1000)::bigint)
  from unnest(rest) r join public.messenger_messages m on m.id = ids[r.ord]
  where r.outcome = 'failed' and r.ord = any (ords);

  perform messenger.measure_failures('retried', v_retried, at);
  perform messenger.measure_failures('dead', v_dead, at);
  perform messenger.move_to_dead_letters(v_dead, at);
  perform messenger.fail_without_dead_letter(v_cancelled, 'Cancelled', at);
  perform messenger.fail_without_dead_letter(v_invalid, 'InvalidPayload', at);

  update public.messenger_messages m
  set status = 'pending', updated_at = settle_rest.at, locked_at = null, locked_by = null, lock_expires_at = null,
      available_at = case c.disposition
        when 'retry' then settle_rest.at + coalesce(r.delay, messenger.retry_delay(m.message_type, m.retry_count + 1))
        when 'snoozed' then settle_rest.at + coalesce(r.delay, '0')
        else m.available_at end,
      retry_count = m.retry_count + (c.disposition = 'retry')::int,
      lease_losses = case c.disposition when 'released' then m.lease_losses else 0 end,
      last_error = case c.disposition when 'retry' then r.error else m.last_error end,
      error_class = case c.disposition when 'retry' then r.error_class else m.error_class end
  from unnest(ords, dispositions) as c(ord, disposition) join unnest(rest) r on r.ord = c.ord
  where m.id = ids[c.ord] and c.disposition in ('retry', 'snoozed', 'released');
  perform messenger.emit('retried', v_retried, at);
end $$;

-- Which outcomes count, and their effects. Only for calls with other outcomes than completed, and for second attempts.
create or replace function messenger.hold_outcomes(
  ids uuid[], fences bigint[], kinds text[], rest messenger.outcome[]
)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    -- Rows are locked in the order of their ids, not of the outcomes, so that two settles cannot deadlock.
    with held as materialized (
      select m.id, m.fence, m.retry_count >= m.max_retries as is_last,
        m.cancel_requested_at is not null as is_cancelled, m.created_by is not null as has_sender
      from public.messenger_messages m
      where m.id = any (ids) and m.status = 'processing'
      order by m.id
      for no key update skip locked
    ),
    -- Of two outcomes for one delivery the first counts.
    counted as (
      select distinct on (v.id) v.ord,
        case
          when v.kind = 'completed' then 'completed'
          -- After a request to cancel, every outcome but completed ends the message as cancelled.
          when h.is_cancelled then 'cancelled'
          when v.kind = 'failed' then case
            when h.has_sender and r.error_class = 'InvalidPayload' then 'invalid'
            when h.is_last or not r.retryable then 'dead'
            else 'retry' end
          else v.kind
        end as disposition
      from unnest(ids, fences, kinds) with ordinality as v(id, fence, kind, ord)
      join held h on h.id = v.id and h.fence = v.fence
      left join unnest(rest) r on r.ord = v.ord
      order by v.id, v.ord
    )
    select array_agg(c.disposition order by x.ord)
    from unnest(ids) with ordinality as x(id, ord) left join counted c on c.ord = x.ord
  );
end $$;

-- Implements messenger_settle for outcomes as arrays. kinds is null if all are completed.
-- Completions are written directly and wait at most 50 ms for a lock; the second attempt skips locked rows. An
-- error undoes the attempt (the block costs 3 us), and the outcomes are recorded in parts. A part deletes no message,
-- because the error may be due to that: a foreign key of the project. Pruning deletes it later.
create or replace function messenger.settle_arrays(
  ids uuid[], fences bigint[], kinds text[], durations double precision[], results jsonb[], rest messenger.outcome[],
  at timestamptz, is_part boolean default false
)
returns messenger.settled[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dispositions text[];
  v_rest_ords bigint[];
  v_done bigint[];
begin
  if is_part then
    perform set_config('lock_timeout', '10ms', true);
  end if;
  if is_part or kinds is not null then
    v_dispositions := messenger.hold_outcomes(
      ids, fences, coalesce(kinds, array_fill('completed'::text, array[cardinality(ids)])), rest);
  end if;
  v_done := messenger.complete(ids, fences, durations, results, v_dispositions, not is_part, at);
  if kinds is not null then
    v_rest_ords := array(
      select n from generate_subscripts(v_dispositions, 1) n where v_dispositions[n] <> 'completed' order by n);
    if v_rest_ords <> '{}' then
      perform messenger.settle_rest(
        ids, rest, v_rest_ords, array(select v_dispositions[n] from unnest(v_rest_ords) with ordinality x(n, i)
          order by x.i), at);
    end if;
  end if;
  -- Tested here first: the call would cost every settle 5 us.
  if current_setting('messenger.none_deferred_in', true) is distinct from date_part('epoch', at)::bigint::text then
    perform messenger.check_deferred(at);
  end if;
  if cardinality(v_done) = cardinality(ids) then
    return null;
  end if;

  return array(
    select row(v.id,
      case
        when v.ord = any (v_done) then 'completed'
        when v.disposition = 'invalid' then 'dead'
        when v.disposition <> 'completed' then v.disposition
        when m.id is null and v.kind in ('completed', 'failed') then 'unknown'
        when m.fence = v.fence and m.status = 'processing' then 'locked'
        -- The same outcome for the same lease was recorded before and its reply was lost. A lease that expired has had
        -- no outcome.
        when m.fence = v.fence and v.kind = 'completed' and m.status = 'completed' then 'already'
        when m.fence = v.fence and v.kind = 'failed' and m.status = 'failed'
          and m.error_class not in ('Expired', 'Cancelled', 'Discarded', 'LeaseExpired') then 'already'
        when v.kind = 'failed' and exists (
          select from messenger.attempts a
          where a.message_id = v.id and a.fence = v.fence and a.error_class <> 'LeaseExpired') then 'already'
        else 'stale'
      end,
      case when v.disposition in ('retry', 'snoozed', 'released') then m.available_at end)::messenger.settled
    from (
      select u.id, u.fence, u.ord, coalesce(kinds[u.ord], 'completed') as kind, v_dispositions[u.ord] as disposition
      from unnest(ids, fences) with ordinality as u(id, fence, ord)
    ) v
    left join public.messenger_messages m on m.id = v.id
    order by v.ord);
end $$;

-- The callers have the planner settings. Without them the whole table would be read: the planner assumes a long list.
create or replace function messenger.settle_outcomes(outcomes jsonb, is_part boolean default false)
returns messenger.settled[]
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $$
declare
  v_now timestamptz := messenger.now();
  v_ids uuid[];
  v_fences bigint[];
  v_kinds text[];
  v_results jsonb[];
  v_durations double precision[];
  v_rest messenger.outcome[];
  v_settled messenger.settled[];
begin
  if outcomes is null or jsonb_typeof(outcomes) <> 'array' then
    perform messenger.raise_error('SM_OUTCOME', 'outcomes must be a JSON array');
  elsif jsonb_array_length(outcomes) = 0 then
    return '{}'::messenger.settled[];
  elsif jsonb_array_length(outcomes) > 1000 then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE');
  end if;
  select array_agg((e ->> 'id')::uuid), array_agg((e ->> 'fence')::bigint),
    case when not bool_and(coalesce(e ->> 'outcome' = 'completed', false)) then array_agg(e ->> 'outcome') end,
    case when bool_or(e -> 'result' <> 'null') then array_agg(nullif(e -> 'result', 'null')) end,
    array_agg(case jsonb_typeof(e -> 'duration_ms')
      when 'number' then least(greatest((e -> 'duration_ms')::numeric, 0), 1e9)::double precision
      when 'string' then messenger.read_milliseconds(e -> 'duration_ms', 1e9) end)
  into v_ids, v_fences, v_kinds, v_results, v_durations
  from jsonb_array_elements(outcomes) e;
  if v_kinds is not null then
    if not v_kinds <@ '{completed,failed,snoozed,released}'::text[] then
      perform messenger.raise_error('SM_OUTCOME');
    end if;
    v_rest := messenger.read_outcomes(outcomes);
  end if;
  if v_results is not null then
    v_results := messenger.cap_results(v_results);
  end if;

  begin
    v_settled := messenger.settle_arrays(v_ids, v_fences, v_kinds, v_durations, v_results, v_rest, v_now, is_part);
    if v_settled is null then
      return array(select row(v.id, 'completed', null)::messenger.settled from unnest(v_ids) v(id));
    end if;
  exception when others then
    if sqlstate = '25006' then
      perform messenger.require_writable();
    elsif not messenger.is_row_error(sqlstate) then
      raise;
    elsif is_part then
      return case when cardinality(v_ids) = 1
        then array[row(v_ids[1], messenger.outcome_of_error(sqlstate, sqlerrm), null)::messenger.settled] end;
    end if;
    v_settled := messenger.settle_in_parts(outcomes, v_ids);
    if not messenger.is_lock_error(sqlstate) then
      return v_settled;
    end if;
  end;

  return case when is_part or 'locked' <> all (array(select s.outcome from unnest(v_settled) s)) then v_settled
    else messenger.settle_locked(outcomes, v_settled) end;
end $$;

create or replace function public.messenger_settle(outcomes jsonb)
returns table (id uuid, outcome text, available_at timestamptz)
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
begin
  return query select * from unnest(messenger.settle_outcomes(outcomes));
end $$;

comment on function messenger.settle_rest(uuid[], messenger.outcome[], bigint[], text[], timestamptz) is
  'Records failures, snoozes, releases and the end of cancelled messages. ords are positions among the outcomes, '
  'dispositions their effects: retry, dead, invalid, cancelled, snoozed or released.';
comment on function messenger.hold_outcomes(uuid[], bigint[], text[], messenger.outcome[]) is
  'Locks the messages of these outcomes. Returns the effect of each outcome by position: completed, retry, dead, '
  'invalid, cancelled, snoozed or released; null if it does not count or the row is locked.';
comment on function messenger.settle_arrays(
  uuid[], bigint[], text[], double precision[], jsonb[], messenger.outcome[], timestamptz, boolean
) is
  'Records outcomes given as arrays. kinds may be null: all are completed; rest has the other outcomes. is_part: '
  'deletes no message and skips locked rows. Returns one row per outcome in the same order; null if all are '
  'completed.';
comment on function messenger.settle_outcomes(jsonb, boolean) is
  'Implements messenger_settle. is_part: deletes no message, skips locked rows, and returns null if it fails with more '
  'than one outcome.';
comment on function public.messenger_settle(jsonb) is
  'Records up to 1000 outcomes: [{"id", "fence", "outcome": completed|failed|snoozed|released, "result"?, "error"?, '
  '"error_class"?, "error_trace"?, "retryable"?, "delay_ms"?, "duration_ms"?}]. '
  'Example: select * from messenger_settle(''[{"id": "01990000-0000-7000-8000-000000000001", "fence": 1, "outcome": '
  '"completed"}]''). '
  'Durations are in milliseconds and limited to the range from zero to 100 years. Returns one row per outcome in the '
  'same order: '
  'completed; retry; dead (failed finally, with a dead letter, but without one for a user''s message of class '
  'InvalidPayload); snoozed; released; cancelled (cancellation was requested before this outcome); already (this '
  'outcome was recorded before); stale (the lease is not current, nothing changed); unknown (no such message); locked '
  '(another transaction has locked the row, nothing changed: send it again); error: <SQLSTATE> <message> (a trigger or '
  'constraint of the project rejected the row, nothing changed). '
  'Waits for locks at most half a second. Errors: SM_OUTCOME, SM_BATCH_TOO_LARGE.';
revoke all on function
  messenger.settle_rest(uuid[], messenger.outcome[], bigint[], text[], timestamptz),
  messenger.hold_outcomes(uuid[], bigint[], text[], messenger.outcome[]),
  messenger.settle_arrays(
    uuid[], bigint[], text[], double precision[], jsonb[], messenger.outcome[], timestamptz, boolean
  ),
  messenger.settle_outcomes(jsonb, boolean),
  public.messenger_settle(jsonb)
from public, anon, authenticated;
grant execute on function
  messenger.settle_rest(uuid[], messenger.outcome[], bigint[], text[], timestamptz),
  messenger.hold_outcomes(uuid[], bigint[], text[], messenger.outcome[]),
  messenger.settle_arrays(
    uuid[], bigint[], text[], double precision[], jsonb[], messenger.outcome[], timestamptz, boolean
  ),
  messenger.settle_outcomes(jsonb, boolean),
  public.messenger_settle(jsonb)
to service_role;
