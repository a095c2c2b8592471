-- Selects the occurrences of a schedule that fire, and stores their messages with rows in messenger.occurrences.


-- fire_once: the latest due occurrence. catch_up: the latest catch_up_limit occurrences. skip: those within the grace
-- period, except that a run of occurrences closer together than the grace period is skipped as a whole if it began
-- before the period, as after an outage. At most 1000 per call; the rest stays due.
create or replace function messenger.plan_runs(schedule public.messenger_schedules, due_at timestamptz, at timestamptz)
returns messenger.run_plan
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grace constant interval := schedule.misfire_grace_ms * interval '1 millisecond';
  v_tiny constant interval := interval '1 microsecond';
  v_limit constant int := least(schedule.catch_up_limit, 1000);
  v_run timestamptz := due_at;
  v_next timestamptz;
  v_runs timestamptz[] := array[due_at];
  v_gap interval := interval '1 second';
begin
  if schedule.misfire = 'skip' then
    if due_at < at - v_grace then
      v_run := (messenger.next_run(schedule, at - v_grace - v_tiny)).run_at;
      if v_run <= at and (messenger.next_run(schedule, v_run - v_grace - v_tiny)).run_at < v_run then
        v_run := (messenger.next_run(schedule, at)).run_at;
      end if;
    end if;
    v_runs := '{}';
    while v_run <= at and cardinality(v_runs) < 1000 loop
      v_runs := v_runs || v_run;
      v_run := (messenger.next_run(schedule, v_run)).run_at;
    end loop;
    return row(v_runs, v_run)::messenger.run_plan;
  end if;

  v_next := (messenger.next_run(schedule, due_at)).run_at;
  if v_next <= at then
    v_run := messenger.last_run(schedule, at + v_tiny, due_at, v_gap);
    v_next := (messenger.next_run(schedule, v_run)).run_at;
    v_runs := array[v_run];
    while schedule.misfire = 'catch_up' and v_run > due_at and cardinality(v_runs) < v_limit loop
      v_run := messenger.last_run(schedule, v_run, due_at, v_gap);
      v_gap := make_interval(secs => extract(epoch from v_runs[1] - v_run)::double precision);
      v_runs := v_run || v_runs;
    end loop;
  end if;
  return row(v_runs, v_next)::messenger.run_plan;
end $$;

-- The schedule's row is locked, so no other session writes its occurrences.
create or replace function messenger.runs_to_fire(schedule public.messenger_schedules, runs timestamptz[])
returns timestamptz[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs timestamptz[] := array(
    select r.due_at from unnest(runs) as r(due_at)
    where not exists (select from messenger.occurrences o where o.schedule_id = schedule.id and o.due_at = r.due_at)
    order by r.due_at);
begin
  if schedule.overlap = 'skip' then
    v_runs := case when messenger.is_unfinished(messenger.last_message(schedule.id)) then '{}' else v_runs[1:1] end;
  elsif schedule.overlap = 'replace' then
    v_runs := v_runs[cardinality(v_runs):];
  end if;
  return case when schedule.max_runs is null then v_runs
    else v_runs[1:greatest(schedule.max_runs - schedule.run_count, 0)::int] end;
end $$;

create or replace function messenger.last_message(schedule_id uuid)
returns uuid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select o.message_id from messenger.occurrences o where o.schedule_id = last_message.schedule_id
    order by o.due_at desc limit 1);
end $$;

create or replace function messenger.is_unfinished(id uuid)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (select from public.messenger_messages m where m.id = is_unfinished.id and m.processed_at is null);
end $$;

-- A rejected message is returned as a row with an error. Only an exception of Postgres itself undoes the whole call.
create or replace function messenger.store_occurrences(messages jsonb[], schedules uuid[], runs timestamptz[])
returns table (ord int, error text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with stored as materialized (
    select s.ord, s.id, concat_ws(': ', s.error_code, s.error) as error, schedules[s.ord] as schedule_id,
    runs[s.ord] as due_at
    from messenger.store_messages(to_jsonb(messages), false, 'schedule', null) s
  ),
  entered as (
    insert into messenger.occurrences (schedule_id, due_at, message_id)
    select s.schedule_id, s.due_at, s.id from stored s where s.id is not null
  )
  -- A trigger of the project's own may have swallowed the row.
  select s.ord, case when s.id is null then coalesce(nullif(s.error, ''), 'the message was not stored') end
  from stored s;
end $$;

-- Takes back the message an occurrence is to replace, if it still waits. One
-- that a worker is just taking is not waited for.
create or replace function messenger.replace_message(id uuid, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_waiting uuid[] := array(
    select m.id from public.messenger_messages m where m.id = replace_message.id and m.status = 'pending'
    for no key update skip locked);
begin
  if v_waiting <> '{}' then
    perform messenger.fail_without_dead_letter(v_waiting, 'Cancelled', at);
  end if;
end $$;

create or replace function messenger.due_schedules(at timestamptz, batch int)
returns setof public.messenger_schedules
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
  return query
  select s.* from public.messenger_schedules s
  where s.enabled and s.next_run_at <= due_schedules.at
    and not messenger.is_set_aside('schedules', 'public.messenger_schedules', jsonb_build_object('id', s.id)::text,
      due_schedules.at)
  order by s.next_run_at limit batch
  for no key update skip locked;
end $$;

-- Used after a chunk was undone, so that only the faulty occurrence fails. Deferred constraints are checked here, or
-- they would fail the whole transaction at commit.
create or replace function messenger.store_alone(messages jsonb[], schedules uuid[], runs timestamptz[])
returns table (ord int, error text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  for v_index in 1..cardinality(messages) loop
    begin
      select v_index, s.error into ord, error
      from messenger.store_occurrences(messages[v_index:v_index], schedules[v_index:v_index], runs[v_index:v_index]) s;
      set constraints all immediate;
    exception when others then
      ord := v_index;
      error := sqlerrm;
    end;
    return next;
  end loop;
end $$;

create or replace function messenger.store_runs(
  messages jsonb[], schedules uuid[], runs timestamptz[], replaced uuid[], at timestamptz
)
returns messenger.run_disposition[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dispositions messenger.run_disposition[];
begin
  begin
    v_dispositions := array(
      select row(schedules[s.ord], runs[s.ord], s.error)::messenger.run_disposition
      from messenger.store_occurrences(messages, schedules, runs) s order by s.ord);
    set constraints all immediate;
  exception when others then
    v_dispositions := array(
      select row(schedules[s.ord], runs[s.ord], s.error)::messenger.run_disposition
      from messenger.store_alone(messages, schedules, runs) s order by s.ord);
  end;
  perform messenger.replace_message(r.id, at)
  from unnest(replaced) with ordinality as r(id, ord)
  where r.id is not null and (v_dispositions[r.ord]).error is null;
  return v_dispositions;
end $$;

comment on function messenger.plan_runs(public.messenger_schedules, timestamptz, timestamptz) is
  'The occurrences from due_at to at that fire by the misfire policy, and the next one.';
comment on function messenger.runs_to_fire(public.messenger_schedules, timestamptz[]) is
  'The given occurrences without those already in messenger.occurrences, those beyond max_runs, '
  'and those held back by the overlap policy.';
comment on function messenger.last_message(uuid) is
  'The message id of the latest occurrence of a schedule; null if there is none.';
comment on function messenger.is_unfinished(uuid) is 'True if the message is pending or processing.';
comment on function messenger.store_occurrences(jsonb[], uuid[], timestamptz[]) is
  'Stores messages with their rows in messenger.occurrences. Returns one row per '
  'message: its index, and its error or null.';
comment on function messenger.store_alone(jsonb[], uuid[], timestamptz[]) is
  'As messenger.store_occurrences, but one by one; error also holds exceptions of Postgres.';
comment on function messenger.store_runs(jsonb[], uuid[], timestamptz[], uuid[], timestamptz) is
  'Stores up to 1000 occurrences, together or, if Postgres raises, one by one. '
  'Cancels the pending messages that they replace.';
comment on function messenger.replace_message(uuid, timestamptz) is 'Cancels the message if it is pending.';
comment on function messenger.due_schedules(timestamptz, int) is
  'Locks and returns at most batch due schedules that no other session has locked.';
revoke all on function
  messenger.plan_runs(public.messenger_schedules, timestamptz, timestamptz),
  messenger.runs_to_fire(public.messenger_schedules, timestamptz[]),
  messenger.last_message(uuid),
  messenger.is_unfinished(uuid),
  messenger.store_occurrences(jsonb[], uuid[], timestamptz[]),
  messenger.store_alone(jsonb[], uuid[], timestamptz[]),
  messenger.store_runs(jsonb[], uuid[], timestamptz[], uuid[], timestamptz),
  messenger.replace_message(uuid, timestamptz),
  messenger.due_schedules(timestamptz, int)
from public, anon, authenticated, service_role;
