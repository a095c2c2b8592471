-- Verdicts: what workers say of the messages they hold. Every verdict passes here, and counts only with the current fence.

-- A handler's own error class must not pass for one of the reserved ones.
create or replace function messenger.error_class_of(error_class text)
returns text
language plpgsql immutable parallel safe
set search_path = ''
as $$
begin
  return case when error_class in ('Expired', 'Cancelled', 'Discarded', 'LeaseExpired') then 'Handler' || error_class else left(coalesce(nullif(error_class, ''), 'Error'), 200) end;
end $$;

-- Wait before the next delivery: exponential, capped, and jittered upwards only, so never earlier than the policy asked.
create or replace function messenger.retry_delay(message_type text, failures int)
returns interval
language plpgsql volatile
set search_path = ''
as $$
begin
  return (
    select make_interval(secs =>
      least(policy.max_delay_ms, policy.delay_ms * power(policy.multiplier, least(failures - 1, 100))) * (1 + policy.jitter * random()) / 1000)
    from (
      select coalesce(max(k.retry_delay_ms), 1000)::double precision as delay_ms, coalesce(max(k.retry_multiplier), 2) as multiplier,
        coalesce(max(k.retry_max_delay_ms), 600000)::double precision as max_delay_ms, coalesce(max(k.retry_jitter), 0.2) as jitter
      from messenger.message_types k where k.type = retry_delay.message_type
    ) policy
  );
end $$;

do $$
begin
  if to_regtype('messenger.verdict') is null then
    create type messenger.verdict as (
      ord int, id uuid, fence bigint, outcome text, result jsonb, error text, error_class text, error_trace text, retryable boolean, delay interval, duration_ms bigint
    );
  end if;
end $$;
comment on type messenger.verdict is 'One element of messenger_settle''s argument, with its position.';

-- Sizes and numbers are looked at one by one only where the whole could hold something too large or too wild.
create or replace function messenger.read_verdicts(outcomes jsonb)
returns messenger.verdict[]
language plpgsql stable
set search_path = ''
as $$
declare
  v_is_wild boolean := messenger.has_wild_number(outcomes);
begin
  return (
    select array_agg(row(
      v.ord, v.id, v.fence, v.outcome,
      case when v.result is not null and (v_is_wild or pg_column_size(v.result) > 1600) then messenger.keep_small(v.result) else v.result end,
      case when v.outcome = 'failed' then messenger.clip(coalesce(v.error, 'no error text was given'), 8192) end,
      case when v.outcome = 'failed' then messenger.error_class_of(v.error_class) end,
      case when v.outcome = 'failed' then messenger.clip(v.error_trace, 8192) end,
      coalesce(v.retryable, true),
      -- A delay no interval holds becomes a negative one, which is refused: Postgres 15 would wrap it around, 17 would raise its own error.
      make_interval(secs => case when abs(v.delay_ms) < 1e13 then v.delay_ms when v.delay_ms is not null then -1 end / 1000),
      v.duration_ms::bigint)::messenger.verdict order by v.ord)
    from rows from (jsonb_to_recordset(outcomes) as (
      id uuid, fence bigint, outcome text, result jsonb, error text, error_class text, error_trace text, retryable boolean, delay_ms double precision, duration_ms double precision)
    ) with ordinality as v(id, fence, outcome, result, error, error_class, error_trace, retryable, delay_ms, duration_ms, ord)
  );
end $$;

-- The planner settings: it believes a list of verdicts to be long and would read the whole table to join it (1.8 ms a verdict beside 3,000 rows).
create or replace function public.messenger_settle(outcomes jsonb)
returns table (id uuid, outcome text, available_at timestamptz)
language plpgsql
set search_path = ''
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_outcomes jsonb := outcomes;
  v_now timestamptz := messenger.now();
  v_verdicts messenger.verdict[];
  -- Positions of the verdicts that count, by kind.
  v_completed int[];
  v_failed int[];
  v_dead int[];
  v_returned int[];
  v_unkept text[];
begin
  if v_outcomes is null or jsonb_typeof(v_outcomes) <> 'array' then
    perform messenger.refuse('SM_OUTCOME', 'outcomes must be a JSON array');
  elsif jsonb_array_length(v_outcomes) = 0 then
    return;
  elsif jsonb_array_length(v_outcomes) > 1000 then
    perform messenger.refuse('SM_BATCH_TOO_LARGE');
  elsif exists (select from jsonb_array_elements(v_outcomes) e
                where jsonb_typeof(e) <> 'object' or coalesce(e ->> 'outcome', '') not in ('completed', 'failed', 'snoozed', 'released')) then
    perform messenger.refuse('SM_OUTCOME');
  end if;
  v_verdicts := messenger.read_verdicts(v_outcomes);
  if exists (select from unnest(v_verdicts) v where v.delay not between interval '0' and interval '100 years') then
    perform messenger.refuse('SM_DELAY', 'delay_ms');
  end if;

  -- Rows are locked in the order of their ids, whatever order the verdicts come in: two settles cannot wait for each other.
  with held as materialized (
    select m.id, m.fence, m.retry_count >= m.max_retries as is_last
    from public.messenger_messages m
    where m.id = any (array(select v.id from unnest(v_verdicts) v)) and m.status = 'processing'
    order by m.id
    for update
  ),
  -- Of two verdicts on one delivery the first counts.
  counted as (
    select distinct on (v.id) v.ord, v.outcome, h.is_last or not v.retryable as is_final
    from held h join unnest(v_verdicts) v on v.id = h.id and v.fence = h.fence
    order by v.id, v.ord
  )
  select array_agg(ord) filter (where outcome = 'completed'), array_agg(ord) filter (where outcome = 'failed'),
    array_agg(ord) filter (where outcome = 'failed' and is_final), array_agg(ord) filter (where outcome in ('snoozed', 'released'))
  into v_completed, v_failed, v_dead, v_returned
  from counted;

  if v_completed is not null then
    select array_agg(t.name) into v_unkept from public.messenger_transports t where (t.config ->> 'retention')::interval = '0';
    if v_unkept is not null then
      with gone as (
        delete from public.messenger_messages m using unnest(v_verdicts) v
        where m.id = v.id and v.ord = any (v_completed) and m.transport_name = any (v_unkept)
        returning m.id, m.transport_name, m.retry_count
      ),
      forgotten as (
        delete from messenger.attempts a where a.message_id = any (array(select g.id from gone g where g.retry_count > 0))
      )
      insert into messenger.pruned (transport_name, message_count, at) select g.transport_name, count(*), v_now from gone g group by g.transport_name;
    end if;
    update public.messenger_messages m
    set status = 'completed', processed_at = v_now, updated_at = v_now, locked_at = null, locked_by = null, lock_expires_at = null, result = v.result
    from unnest(v_verdicts) v
    where m.id = v.id and v.ord = any (v_completed);
    if cardinality(v_completed) = cardinality(v_verdicts) then
      return query select v.id, 'completed', null::timestamptz from unnest(v_verdicts) v;
      return;
    end if;
  end if;

  if v_failed is not null then
    insert into messenger.attempts (message_id, fence, at, worker, error, error_class, error_trace, duration_ms)
    select m.id, m.fence, v_now, m.locked_by, v.error, v.error_class, v.error_trace, coalesce(v.duration_ms, (extract(epoch from v_now - m.locked_at) * 1000)::bigint)
    from unnest(v_verdicts) v join public.messenger_messages m on m.id = v.id
    where v.ord = any (v_failed);
    if v_dead is not null then
      perform messenger.bury(array(select v.id from unnest(v_verdicts) v where v.ord = any (v_dead)), v_now);
    end if;
    update public.messenger_messages m
    set status = 'pending', available_at = v_now + coalesce(v.delay, messenger.retry_delay(m.message_type, m.retry_count + 1)), updated_at = v_now,
        locked_at = null, locked_by = null, lock_expires_at = null, lease_losses = 0,
        retry_count = m.retry_count + 1, last_error = v.error, error_class = v.error_class
    from unnest(v_verdicts) v
    where m.id = v.id and v.ord = any (v_failed) and m.status = 'processing';
  end if;

  if v_returned is not null then
    update public.messenger_messages m
    set status = 'pending', updated_at = v_now, locked_at = null, locked_by = null, lock_expires_at = null,
        available_at = case when v.outcome = 'snoozed' then v_now + coalesce(v.delay, '0') else m.available_at end,
        lease_losses = case when v.outcome = 'snoozed' then 0 else m.lease_losses end
    from unnest(v_verdicts) v
    where m.id = v.id and v.ord = any (v_returned);
  end if;

  return query
  select v.id,
    case
      when v.ord = any (v_completed) then 'completed'
      when v.ord = any (v_dead) then 'dead'
      when v.ord = any (v_failed) then 'retry'
      when v.ord = any (v_returned) then v.outcome
      when m.id is null and v.outcome in ('completed', 'failed') then 'unknown'
      -- This very verdict on this very lease was recorded before: its reply was lost. A lease that ran out has had no verdict.
      when m.fence = v.fence and v.outcome = 'completed' and m.status = 'completed' then 'already'
      when m.fence = v.fence and v.outcome = 'failed' and m.status = 'failed' and m.error_class not in ('Expired', 'LeaseExpired') then 'already'
      when v.outcome = 'failed' and exists (
        select from messenger.attempts a where a.message_id = v.id and a.fence = v.fence and a.error_class <> 'LeaseExpired') then 'already'
      else 'stale'
    end,
    case when (v.ord = any (v_failed) or v.ord = any (v_returned)) and m.status = 'pending' then m.available_at end
  from unnest(v_verdicts) v
  left join public.messenger_messages m on m.id = v.id
  order by v.ord;
end $$;

create or replace function public.messenger_exchange(
  outcomes jsonb, worker text, batch int default 10, lease interval default '60 s', transport text default null, queues text[] default null, types text[] default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_settled jsonb;
  v_claimed jsonb;
begin
  select jsonb_agg(s) into v_settled from public.messenger_settle(outcomes) s;
  select jsonb_agg(c) into v_claimed from public.messenger_claim(worker, batch, lease, transport, queues, types) c;
  return jsonb_build_object('settled', coalesce(v_settled, '[]'), 'claimed', coalesce(v_claimed, '[]'));
end $$;

comment on function messenger.error_class_of(text) is 'The class an error is stored under: Error when there is none, Handler<Name> where the name is reserved.';
comment on function messenger.retry_delay(text, int) is 'Wait before the next delivery after so many failures, by the policy of the type.';
comment on function messenger.read_verdicts(jsonb) is 'The outcomes of messenger_settle in order, texts clipped to 8 KB, results to 64 KB.';
comment on function public.messenger_settle(jsonb) is
  'Records up to 1000 verdicts: [{"id", "fence", "outcome": completed|failed|snoozed|released, "result"?, "error"?, "error_class"?, "error_trace"?, "retryable"?, "delay_ms"?, "duration_ms"?}]. Answers in the same order: completed, retry, dead, snoozed, released; already (this verdict was recorded before), stale (the lease is not current, nothing changed), unknown (no such message).';
comment on function public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]) is
  'messenger_settle and messenger_claim in one transaction: {"settled": [...], "claimed": [...]}.';
revoke all on function messenger.error_class_of(text), messenger.retry_delay(text, int), messenger.read_verdicts(jsonb), public.messenger_settle(jsonb),
  public.messenger_exchange(jsonb, text, int, interval, text, text[], text[])
  from public, anon, authenticated;
grant execute on function messenger.error_class_of(text), messenger.retry_delay(text, int), messenger.read_verdicts(jsonb), public.messenger_settle(jsonb),
  public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]) to service_role;
