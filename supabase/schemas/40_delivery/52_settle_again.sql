-- Second attempts at settling: rows that were locked, and calls in which one row could not be written.

-- A claim of another worker whose scan began before this row was claimed locks it for the few milliseconds until it
-- commits. So locked rows are waited for, at most 250 ms (setting messenger.settle_wait), before the worker has to send
-- them again.
create or replace function messenger.settle_locked(outcomes jsonb, settled messenger.settled[])
returns messenger.settled[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settled messenger.settled[] := settled;
  v_locked int[] := array(
    select n from generate_subscripts(settled, 1) n where (settled[n]).outcome = 'locked' order by n);
  v_again messenger.settled[];
begin
  begin
    perform set_config(
      'lock_timeout', coalesce(nullif(current_setting('messenger.settle_wait', true), ''), '250ms'), true);
    perform from public.messenger_messages m
    where m.id = any (array(select (settled[n]).id from unnest(v_locked) n))
    order by m.id
    for no key update;
  exception when lock_not_available then
    null;
  end;
  v_again := messenger.settle_outcomes((select jsonb_agg(outcomes -> n - 1 order by n) from unnest(v_locked) n), true);
  for v_index in 1..coalesce(cardinality(v_again), 0) loop
    v_settled[v_locked[v_index]] := v_again[v_index];
  end loop;
  return v_settled;
end $$;

create or replace function messenger.outcome_of_error(sqlstate text, error text)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when sqlstate = '55P03' then 'locked'
    else 'error: ' || sqlstate || ' ' || messenger.clip(error, 1000) end;
end $$;

-- Begins with the whole call, whose locked rows are now skipped. A part that fails is halved until the faulty row is
-- alone: ten failures for a thousand rows. In random order and for 400 ms (setting messenger.settle_budget), so that
-- rows that wait for locks do not delay the others for long; the outcomes left after that are reported as locked. Two
-- outcomes of one message keep their order.
create or replace function messenger.settle_in_parts(outcomes jsonb, ids uuid[])
returns messenger.settled[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_end timestamptz := clock_timestamp()
    + coalesce(nullif(current_setting('messenger.settle_budget', true), ''), '400 milliseconds')::interval;
  v_salt bigint := (random() * 1e9)::bigint;
  v_order int[] := array(
    select n from generate_series(1, cardinality(ids)) n order by hashtextextended(ids[n]::text, v_salt), n);
  -- A stack of parts, each a range of indexes of v_order.
  v_from int[] := array[1];
  v_to int[] := array[cardinality(ids)];
  v_depth int := 1;
  v_first int;
  v_last int;
  v_part messenger.settled[];
  v_settled messenger.settled[];
begin
  while v_depth > 0 loop
    v_first := v_from[v_depth];
    v_last := v_to[v_depth];
    v_depth := v_depth - 1;
    v_part := null;
    if clock_timestamp() >= v_end then
      v_part := array(
        select row(ids[v_order[n]], 'locked', null)::messenger.settled
        from generate_series(v_first, v_last) n);
    else
      v_part := messenger.settle_outcomes(
        (select jsonb_agg(outcomes -> v_order[n] - 1 order by n) from generate_series(v_first, v_last) n), true);
    end if;
    if v_part is null then
      v_from[v_depth + 1] := (v_first + v_last + 1) / 2;
      v_to[v_depth + 1] := v_last;
      v_from[v_depth + 2] := v_first;
      v_to[v_depth + 2] := v_from[v_depth + 1] - 1;
      v_depth := v_depth + 2;
    else
      for v_index in v_first..v_last loop
        v_settled[v_order[v_index]] := v_part[v_index - v_first + 1];
      end loop;
    end if;
  end loop;
  return v_settled;
end $$;

comment on function messenger.settle_locked(jsonb, messenger.settled[]) is
  'Waits briefly for the rows reported as locked, and settles them.';
comment on function messenger.outcome_of_error(text, text) is
  'The outcome of a row that could not be written: locked, or error: <SQLSTATE> <message>.';
comment on function messenger.settle_in_parts(jsonb, uuid[]) is
  'Records the outcomes of a call that failed in parts, for at most half a second.';
revoke all on function
  messenger.settle_locked(jsonb, messenger.settled[]),
  messenger.outcome_of_error(text, text),
  messenger.settle_in_parts(jsonb, uuid[])
from public, anon, authenticated;
grant execute on function
  messenger.settle_locked(jsonb, messenger.settled[]),
  messenger.outcome_of_error(text, text),
  messenger.settle_in_parts(jsonb, uuid[])
to service_role;
