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

-- Rows are found by id, locked, and then written by ctid, which cannot change while the lock is held: a second search
-- by id, or a join of the list with the table, cost 4 to 18 us per message. Without the planner settings the whole
-- table would be read: the planner assumes a long list.
-- Never waits: locked rows are skipped, and lock_timeout limits the waits of triggers and cascading foreign keys. An
-- error undoes the attempt (the block costs 3 us), and the outcomes are recorded in parts. A part deletes no message,
-- because the error may be due to that: a foreign key of the project. Pruning deletes it later.
create or replace function messenger.settle_outcomes(outcomes jsonb, is_part boolean default false)
returns messenger.settled[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '50ms'
as $$
#variable_conflict use_column
declare
  v_outcomes jsonb := outcomes;
  v_now timestamptz := messenger.now();
  v_ids uuid[];
  v_fences bigint[];
  v_kinds text[];
  v_results jsonb[];
  v_durations double precision[];
  v_rest messenger.outcome[];
  v_is_out_of_range boolean;
  v_counted record;
  v_keys messenger.order_key[];
  v_has_deleted boolean := false;
  v_settled messenger.settled[];
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  if v_outcomes is null or jsonb_typeof(v_outcomes) <> 'array' then
    perform messenger.raise_error('SM_OUTCOME', 'outcomes must be a JSON array');
  elsif jsonb_array_length(v_outcomes) = 0 then
    return '{}'::messenger.settled[];
  elsif jsonb_array_length(v_outcomes) > 1000 then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE');
  end if;
  select array_agg((e ->> 'id')::uuid), array_agg((e ->> 'fence')::bigint), array_agg(e ->> 'outcome'),
    array_agg(nullif(e -> 'result', 'null')),
    array_agg(case jsonb_typeof(e -> 'duration_ms')
      when 'number' then least(greatest((e -> 'duration_ms')::numeric, 0), 1e9)::double precision
      when 'string' then messenger.read_milliseconds(e -> 'duration_ms', 1e9) end)
  into v_ids, v_fences, v_kinds, v_results, v_durations
  from jsonb_array_elements(v_outcomes) e;
  if not v_kinds <@ '{completed,failed,snoozed,released}'::text[] then
    perform messenger.raise_error('SM_OUTCOME');
  end if;
  if 'completed' <> any (v_kinds) then
    v_rest := messenger.read_outcomes(v_outcomes);
  end if;
  if array_remove(v_results, null) <> '{}' then
    v_is_out_of_range := messenger.has_out_of_range_number(v_outcomes);
    v_results := array(
      select case when v_is_out_of_range or pg_column_size(r.result) > 1600
        then messenger.cap_size(r.result) else r.result end
      from unnest(v_results) with ordinality as r(result, ord) order by r.ord);
  end if;

  begin
    if is_part then
      perform set_config('lock_timeout', '10ms', true);
    end if;
    -- Rows are locked in the order of their ids, not of the outcomes, so that two settles cannot deadlock.
    with held as materialized (
      select m.ctid as tid, m.id, m.fence, m.retry_count, m.retry_count >= m.max_retries as is_last,
        m.cancel_requested_at is not null as is_cancelled, m.ordering_key is not null as is_ordered,
        m.created_by is not null as has_sender, m.locked_at,
        case when m.lease_losses = 0 and m.locked_at > m.available_at and m.available_at > '-infinity'
          then m.locked_at - m.available_at end as waited,
        hashtextextended(m.message_type, hashtext(m.transport_name)) as sort,
        m.transport_name = any (array(
          select t.name from public.messenger_transports t
          where (t.config ->> 'retention')::interval = '0')) as is_unkept
      from public.messenger_messages m
      where m.id = any (v_ids) and m.status = 'processing'
      order by m.id
      for no key update skip locked
    ),
    -- Of two outcomes for one delivery the first counts.
    counted as (
      select distinct on (v.id) v.ord, v.id, h.tid, h.retry_count, h.is_ordered, h.has_sender, h.waited, h.sort,
        least(greatest(coalesce(v.duration, date_part('epoch', v_now - h.locked_at) * 1000), 0), 1e9)::real as duration,
        case
          when v.kind = 'completed' then case when h.is_unkept and not is_part then 'unkept' else 'kept' end
          -- After a request to cancel, every outcome but completed ends the message as cancelled.
          when h.is_cancelled then 'cancelled'
          when v.kind = 'failed' then case
            when h.has_sender and r.error_class = 'InvalidPayload' then 'invalid'
            when h.is_last or not r.retryable then 'dead'
            else 'retry' end
          else v.kind
        end as disposition
      from unnest(v_ids, v_fences, v_kinds, v_durations) with ordinality as v(id, fence, kind, duration, ord)
      join held h on h.id = v.id and h.fence = v.fence
      left join unnest(v_rest) r on r.ord = v.ord
      order by v.id, v.ord
    )
    select array_agg(ord) as ords, array_agg(tid) as ctids, array_agg(disposition) as dispositions,
      bool_or(retry_count > 0) as has_history, array_agg(id) filter (where is_ordered) as ordered,
      bool_or(has_sender) or exists (
        select from messenger.subscriptions s where s.event = 'completed') as is_watched,
      array_agg(duration) as durations, count(waited) as wait_count, sum(waited) as waited,
      min(sort) = max(sort) as is_uniform
    into v_counted
    from counted;

    if v_counted.ordered is not null then
      v_keys := messenger.order_keys(v_counted.ordered);
    end if;
    if v_counted.is_watched then
      perform messenger.emit('completed', array(
        select v_ids[c.ord] from unnest(v_counted.ords, v_counted.dispositions) as c(ord, disposition)
        where c.disposition in ('kept', 'unkept')), v_now);
    end if;
    -- The usual case is one type, all completed: finding that out from the rows, or in a function, would cost as much
    -- again.
    if v_counted.is_uniform and v_counted.dispositions <@ '{kept,unkept}'::text[] then
      insert into messenger.measurements
        (at, transport_name, message_type, kind, message_count, durations, wait_count, waited)
      select v_now, m.transport_name, m.message_type, 'completed', cardinality(v_counted.ords), v_counted.durations,
        v_counted.wait_count, v_counted.waited
      from public.messenger_messages m where m.ctid = v_counted.ctids[1];
    elsif v_counted.dispositions && '{kept,unkept}'::text[] then
      perform messenger.measure_completions(v_counted.ctids, v_counted.dispositions, v_counted.durations, v_now);
    end if;
    if v_counted.dispositions && '{unkept}'::text[] then
      v_has_deleted := true;
      with deleted as (
        delete from public.messenger_messages m
        where m.ctid = any (array(
          select c.tid from unnest(v_counted.ctids, v_counted.dispositions) as c(tid, disposition)
          where c.disposition = 'unkept'))
        returning m.id, m.transport_name
      ),
      deleted_attempts as (
        delete from messenger.attempts a
        where v_counted.has_history and a.message_id = any (array(select d.id from deleted d))
      )
      insert into messenger.pruned (transport_name, message_count, at)
      select d.transport_name, count(*), v_now from deleted d group by d.transport_name;
    end if;
    if v_counted.dispositions && '{kept}'::text[] then
      update public.messenger_messages m
      set status = 'completed', processed_at = v_now, updated_at = v_now, locked_at = null, locked_by = null,
          lock_expires_at = null, result = v_results[c.ord]
      from unnest(v_counted.ctids, v_counted.dispositions, v_counted.ords) as c(tid, disposition, ord)
      where m.ctid = c.tid and c.disposition = 'kept';
    end if;
    if not v_counted.dispositions <@ '{kept,unkept}'::text[] then
      perform messenger.settle_rest(v_ids, v_rest, v_counted.ords, v_counted.dispositions, v_now);
    end if;
    if v_keys <> '{}' then
      perform messenger.unblock_next(v_keys, v_now);
    end if;
    perform messenger.check_deferred(v_now);

    if v_counted.dispositions <@ '{kept,unkept}'::text[]
      and cardinality(v_counted.dispositions) = cardinality(v_ids) then
      return array(select row(v.id, 'completed', null)::messenger.settled from unnest(v_ids) v(id));
    end if;
    v_settled := array(
    select row(v.id,
      case
        when c.disposition in ('kept', 'unkept') then 'completed'
        when c.disposition = 'invalid' then 'dead'
        when c.disposition is not null then c.disposition
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
      case when c.disposition in ('retry', 'snoozed', 'released') then m.available_at end)::messenger.settled
    from unnest(v_ids, v_fences, v_kinds) with ordinality as v(id, fence, kind, ord)
    left join unnest(v_counted.ords, v_counted.dispositions) as c(ord, disposition) on c.ord = v.ord
    left join public.messenger_messages m on m.id = v.id
    order by v.ord);
  exception when others then
    if not messenger.is_row_error(sqlstate) then
      raise;
    elsif not is_part then
      return messenger.settle_in_parts(v_outcomes, v_ids, v_has_deleted);
    elsif cardinality(v_ids) > 1 then
      return null;
    end if;
    return array[row(v_ids[1], messenger.outcome_of_error(sqlstate, sqlerrm), null)::messenger.settled];
  end;

  return case when is_part or 'locked' <> all (array(select s.outcome from unnest(v_settled) s)) then v_settled
    else messenger.settle_locked(v_outcomes, v_settled) end;
end $$;

create or replace function public.messenger_settle(outcomes jsonb)
returns table (id uuid, outcome text, available_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return query select * from unnest(messenger.settle_outcomes(outcomes));
end $$;

comment on function messenger.settle_rest(uuid[], messenger.outcome[], bigint[], text[], timestamptz) is
  'Records failures, snoozes, releases and the end of cancelled messages. ords are positions among the outcomes, '
  'dispositions their effects: retry, dead, invalid, cancelled, snoozed or released.';
comment on function messenger.settle_outcomes(jsonb, boolean) is
  'Implements messenger_settle. is_part: deletes no message, and returns null if it fails with more than one outcome.';
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
  messenger.settle_outcomes(jsonb, boolean),
  public.messenger_settle(jsonb)
from public, anon, authenticated;
grant execute on function
  messenger.settle_rest(uuid[], messenger.outcome[], bigint[], text[], timestamptz),
  messenger.settle_outcomes(jsonb, boolean),
  public.messenger_settle(jsonb)
to service_role;
