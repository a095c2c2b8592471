-- Turns due schedules into messages: locks them, plans each separately, stores the messages in
-- chunks and advances all schedules in one statement.

-- The jitter is a hash of schedule and occurrence, so every computation of it gives the same value.
create or replace function messenger.scheduled_message(schedule public.messenger_schedules, due_at timestamptz)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_jitter interval := interval '0';
begin
  if schedule.jitter_ms > 0 then
    v_jitter := ('x' || left(md5(schedule.id || '/' || extract(epoch from due_at)),
      12))::bit(48)::bigint % (schedule.jitter_ms + 1) * interval '1 millisecond';
  end if;
  return jsonb_build_object('type', schedule.message_type, 'payload', schedule.body, 'transport',
    schedule.transport_name, 'queue', schedule.queue_name,
    'available_at', due_at + v_jitter, 'headers', schedule.headers
      || messenger.schedule_headers(schedule.name, due_at));
end $$;

-- The caller has locked the schedules.
create or replace function messenger.expand_locked_schedules(ids uuid[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedule public.messenger_schedules;
  v_plan messenger.run_plan;
  v_due_at timestamptz;
  v_run timestamptz;
  v_messages jsonb[] := '{}'::jsonb[];
  v_schedules uuid[] := '{}'::uuid[];
  v_runs timestamptz[] := '{}'::timestamptz[];
  v_replaced uuid[] := '{}'::uuid[];
  v_bytes int := 0;
  v_planned int := 0;
  v_ids uuid[] := '{}'::uuid[];
  v_due_ats timestamptz[] := '{}'::timestamptz[];
  v_nexts timestamptz[] := '{}'::timestamptz[];
  v_failures text[] := '{}'::text[];
  v_stored bigint := 0;
  v_dispositions messenger.run_disposition[] := '{}'::messenger.run_disposition[];
begin
  for v_schedule in
    select s.* from unnest(ids) with ordinality as x(id, n)
    join public.messenger_schedules s on s.id = x.id order by x.n
  loop
    -- A large backlog would make one tick last for minutes. Schedules beyond the limit stay due.
    exit when v_planned >= 10000;
    v_due_at := v_schedule.next_run_at;
    v_plan := null;
    begin
      if v_schedule.last_error is not null then
        v_due_at := messenger.due_since(v_schedule);
      end if;
      v_plan := messenger.plan_runs(v_schedule, v_due_at, at);
      v_plan.runs := messenger.runs_to_fire(v_schedule, v_plan.runs);
      v_failures := v_failures || null::text;
    exception when others then
      v_plan.runs := '{}';
      v_failures := v_failures || left(sqlerrm, 1000);
    end;
    v_ids := v_ids || v_schedule.id;
    v_due_ats := v_due_ats || v_due_at;
    v_nexts := v_nexts || v_plan.next_run_at;
    v_planned := v_planned + cardinality(v_plan.runs);
    foreach v_run in array v_plan.runs loop
      if cardinality(v_messages) = 1000 or v_bytes > 4000000 then
        v_dispositions := v_dispositions || messenger.store_runs(v_messages, v_schedules, v_runs, v_replaced, at);
        v_messages := '{}'; v_schedules := '{}'; v_runs := '{}'; v_replaced := '{}'; v_bytes := 0;
      end if;
      v_messages := v_messages || messenger.scheduled_message(v_schedule, v_run);
      v_schedules := v_schedules || v_schedule.id;
      v_runs := v_runs || v_run;
      v_replaced := v_replaced || case when v_schedule.overlap = 'replace'
        then messenger.last_message(v_schedule.id) end;
      v_bytes := v_bytes + octet_length(v_schedule.body::text) + octet_length(v_schedule.headers::text) + 200;
    end loop;
  end loop;
  if v_messages <> '{}' then
    v_dispositions := v_dispositions || messenger.store_runs(v_messages, v_schedules, v_runs, v_replaced, at);
  end if;

  with planned as materialized (
    select p.id, p.due_at, p.next_run_at, coalesce(p.failure, f.error) as error,
      coalesce(f.failed_at, p.due_at) as failed_at,
      coalesce(f.stored, 0) as stored, f.last_run_at
    from unnest(v_ids, v_due_ats, v_nexts, v_failures) as p(id, due_at, next_run_at, failure)
    left join (
      select x.schedule_id, count(*) filter (where x.error is null) as stored, max(x.due_at)
        filter (where x.error is null) as last_run_at,
        max(x.error) as error, min(x.due_at) filter (where x.error is not null) as failed_at
      from unnest(v_dispositions) x group by x.schedule_id
    ) f on f.schedule_id = p.id
  ),
  put_off as (
    insert into messenger.schedule_backoffs as b (schedule_id, due_at)
    select p.id, p.failed_at from planned p where p.error is not null
    on conflict on constraint schedule_backoffs_pkey do update set due_at = excluded.due_at
  ),
  recovered as (
    delete from messenger.schedule_backoffs b where b.schedule_id in (select p.id from planned p where p.error is null)
  ),
  moved as (
    update public.messenger_schedules s
    set run_count = s.run_count + p.stored, last_run_at = greatest(s.last_run_at, p.last_run_at), last_error = p.error,
        updated_at = expand_locked_schedules.at,
        next_run_at = case when p.error is not null then expand_locked_schedules.at + interval '5 minutes'
          when s.run_count + p.stored >= s.max_runs then null else p.next_run_at end,
        enabled = p.error is not null or (p.next_run_at is not null
          and coalesce(s.run_count + p.stored < s.max_runs, true))
    from planned p
    where s.id = p.id
  )
  select sum(p.stored) into v_stored from planned p;
  return jsonb_build_object('expanded', coalesce(v_stored, 0));
end $$;

-- A schedule that fails while it is planned or stored gets the error in its own row. If that row cannot be written, the
-- schedule is set aside and none of its messages are stored.
create or replace function messenger.expand_schedules(at timestamptz, batch int, ends_at timestamptz default 'infinity')
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_due text[] := messenger.row_ids(array(select s.id from messenger.due_schedules(at, batch) s
    order by s.next_run_at));
  v_chunk constant int := 200;
  v_figures jsonb;
begin
  for v_from in 1..cardinality(v_due) by v_chunk loop
    v_figures := messenger.add_figures(v_figures,
      messenger.write_each('schedules', 'public.messenger_schedules', v_due[v_from:v_from + v_chunk - 1], at, ends_at));
    exit when clock_timestamp() > ends_at;
  end loop;
  return coalesce((v_figures ->> 'expanded')::bigint, 0);
end $$;

comment on function messenger.scheduled_message(public.messenger_schedules, timestamptz) is
  'The message of an occurrence as a draft for dispatch.';
comment on function messenger.expand_locked_schedules(uuid[], timestamptz) is
  'Stores messages for the due occurrences of these schedules and advances the schedules. A schedule that fails gets '
  'last_error and is postponed by 5 minutes. Returns {"expanded": number of messages}.';
comment on function messenger.expand_schedules(timestamptz, int, timestamptz) is
  'Calls messenger.expand_locked_schedules for at most batch due schedules. A schedule that cannot be written is '
  'set aside. Returns the number of messages.';
revoke all on function
  messenger.scheduled_message(public.messenger_schedules, timestamptz),
  messenger.expand_locked_schedules(uuid[], timestamptz),
  messenger.expand_schedules(timestamptz, int, timestamptz)
from public, anon, authenticated, service_role;
