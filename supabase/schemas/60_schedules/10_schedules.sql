-- Saving, pausing, removing and previewing schedules.

-- The message of a schedule, judged as any dispatch is, with the headers it will have; routes of its type are resolved here.
create or replace function messenger.read_schedule_message(name text, type text, payload jsonb, schedule public.messenger_schedules, at timestamptz)
returns public.messenger_schedules
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.messenger_schedules := schedule;
  v_draft record;
begin
  if name is null or length(name) not between 1 and 128 or name ~ '[/\x01-\x1f\x7f]' or name <> btrim(name) then
    perform messenger.raise_error('SM_SCHEDULE', 'the name must have 1 to 128 characters, no slash or control character, and no space around it');
  end if;
  select d.* into v_draft
  from messenger.read_drafts((
    select jsonb_build_array(jsonb_object_agg(given.field, given.value) filter (where given.value is not null))
    from (values
      ('type', to_jsonb(type)), ('payload', coalesce(payload, '{}')), ('queue', to_jsonb(v_row.queue_name)), ('transport', to_jsonb(v_row.transport_name)),
      ('headers', case when jsonb_typeof(v_row.headers) = 'object'
        then v_row.headers || messenger.schedule_headers(name, at) else v_row.headers end)
    ) as given(field, value)
  ), at) d;
  if v_draft.error_code is not null then
    perform messenger.raise_error(v_draft.error_code);
  end if;
  v_row.name := name;
  v_row.message_type := v_draft.message_type;
  v_row.transport_name := v_draft.transport_name;
  v_row.queue_name := v_draft.queue_name;
  v_row.body := v_draft.body;
  return v_row;
end $$;

-- Saving what is there already changes nothing: what is due stays due, what is over stays over, what is paused stays paused.
create or replace function public.messenger_schedule(
  name text, type text, schedule jsonb, payload jsonb default '{}', timezone text default 'UTC', options jsonb default '{}'
)
returns public.messenger_schedules
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_new public.messenger_schedules := messenger.read_schedule(messenger_schedule.schedule, messenger_schedule.timezone, messenger_schedule.options, v_now);
  v_old public.messenger_schedules;
  v_is_same boolean;
begin
  perform messenger.require_writable();
  v_new := messenger.read_schedule_message(messenger_schedule.name, messenger_schedule.type, messenger_schedule.payload, v_new, v_now);
  v_new.run_count := 0;
  v_new.updated_at := v_now;
  loop
    select s.* into v_old from public.messenger_schedules s where s.name = v_new.name for update;
    v_is_same := false;
    if found then
      v_is_same := (v_old.schedule_config, v_old.timezone, v_old.starts_at, v_old.ends_at, v_old.dst_gap, v_old.dst_overlap)
        is not distinct from (v_new.schedule_config, v_new.timezone, v_new.starts_at, v_new.ends_at, v_new.dst_gap, v_new.dst_overlap);
      v_new.created_at := v_old.created_at;
      v_new.last_run_at := v_old.last_run_at;
      v_new.run_count := v_old.run_count;
    end if;
    v_new.next_run_at := case when v_is_same and v_old.next_run_at is not null and (v_old.enabled or v_new.enabled is not true)
      then messenger.due_since(v_old) else messenger.first_run(v_new, v_now) end;
    if v_new.run_count >= v_new.max_runs then
      v_new.next_run_at := null;
    end if;
    if not v_is_same and (v_new.next_run_at is null
      or v_new.schedule_type = 'once' and v_new.misfire = 'skip' and v_new.next_run_at < v_now - v_new.misfire_grace_ms * interval '1 millisecond') then
      perform messenger.raise_error('SM_SCHEDULE', 'it never runs: its moments are over, outside of starts_at and ends_at, or max_runs is reached');
    end if;
    v_new.enabled := v_new.next_run_at is not null and coalesce(v_new.enabled, v_old.enabled or v_old.next_run_at is null, true);

    if v_old.id is not null then
      update public.messenger_schedules s
      set message_type = v_new.message_type, transport_name = v_new.transport_name, queue_name = v_new.queue_name, body = v_new.body, headers = v_new.headers,
          schedule_type = v_new.schedule_type, schedule_config = v_new.schedule_config, timezone = v_new.timezone, next_run_at = v_new.next_run_at,
          max_runs = v_new.max_runs, enabled = v_new.enabled, starts_at = v_new.starts_at, ends_at = v_new.ends_at, misfire = v_new.misfire,
          misfire_grace_ms = v_new.misfire_grace_ms, catch_up_limit = v_new.catch_up_limit, dst_gap = v_new.dst_gap, dst_overlap = v_new.dst_overlap,
          overlap = v_new.overlap, jitter_ms = v_new.jitter_ms, last_error = null, updated_at = v_now
      where s.id = v_old.id
      returning s.* into v_new;
      delete from messenger.schedule_backoffs b where b.schedule_id = v_old.id;
      exit;
    end if;
    v_new.id := gen_random_uuid();
    insert into public.messenger_schedules select v_new.* on conflict do nothing;
    exit when found;
    -- Somebody else has just saved the first of this name: look at theirs.
    v_new.enabled := (messenger.read_options(coalesce(messenger_schedule.options, '{}'))).enabled;
  end loop;
  return v_new;
end $$;

create or replace function public.messenger_unschedule(name text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid;
begin
  perform messenger.require_writable();
  delete from public.messenger_schedules s where s.name = messenger_unschedule.name returning s.id into v_id;
  delete from messenger.schedule_backoffs b where b.schedule_id = v_id;
  return v_id is not null;
end $$;

create or replace function public.messenger_pause_schedule(name text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedule public.messenger_schedules;
begin
  perform messenger.require_writable();
  select s.* into v_schedule from public.messenger_schedules s where s.name = messenger_pause_schedule.name for update;
  if not found then
    perform messenger.raise_error('SM_NOT_FOUND', format('schedule "%s"', left(name, 128)));
  end if;
  update public.messenger_schedules s set enabled = false, updated_at = messenger.now() where s.id = v_schedule.id and s.enabled;
  return found;
end $$;

-- What was due in the pause is over, save for what runs only once: that has its misfire policy.
create or replace function public.messenger_resume_schedule(name text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := messenger.now();
  v_schedule public.messenger_schedules;
  v_next timestamptz;
begin
  perform messenger.require_writable();
  select s.* into v_schedule from public.messenger_schedules s where s.name = messenger_resume_schedule.name for update;
  if not found then
    perform messenger.raise_error('SM_NOT_FOUND', format('schedule "%s"', left(name, 128)));
  elsif v_schedule.enabled or v_schedule.next_run_at is null then
    return false;
  end if;
  v_next := messenger.due_since(v_schedule);
  if v_next <= v_now then
    v_next := messenger.first_run(v_schedule, v_now);
  end if;
  update public.messenger_schedules s set enabled = v_next is not null, next_run_at = v_next, updated_at = v_now where s.id = v_schedule.id;
  delete from messenger.schedule_backoffs b where b.schedule_id = v_schedule.id;
  return v_next is not null;
end $$;

create or replace function public.messenger_schedule_preview(
  schedule jsonb, timezone text default 'UTC', from_time timestamptz default null, count int default 10, options jsonb default '{}'
)
returns table (run_at timestamptz, local_time timestamp, note text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_after timestamptz := coalesce(from_time, messenger.now());
  v_count int := coalesce(count, 10);
  v_row public.messenger_schedules := messenger.read_schedule(schedule, timezone, options, v_after);
  v_run messenger.cron_run;
  v_skipped messenger.cron_run;
  v_needs_gap_run boolean := v_row.schedule_type = 'cron' and v_row.dst_gap = 'skip';
begin
  if v_count not between 1 and 1000 then
    perform messenger.raise_error('SM_SCHEDULE', 'count must be a whole number from 1 to 1000');
  end if;
  for v_turn in 1..least(v_count, v_row.max_runs) loop
    v_row.dst_gap := case when v_needs_gap_run then 'skip' else v_row.dst_gap end;
    v_run := messenger.next_run(v_row, v_after);
    if v_needs_gap_run then
      v_row.dst_gap := 'run_after';
      v_skipped := messenger.next_run(v_row, v_after);
    end if;
    exit when v_run.run_at is null;
    if v_skipped.run_at < v_run.run_at then
      -- The clock of the gap had not been moved yet: a second before it, the offset was still the old one.
      run_at := null;
      local_time := messenger.wall_time_in_gap(v_skipped.run_at, v_row.timezone);
      note := 'skipped by DST';
      v_after := v_skipped.run_at;
    else
      run_at := v_run.run_at;
      local_time := v_run.run_at at time zone v_row.timezone;
      note := v_run.note;
      v_after := v_run.run_at;
    end if;
    return next;
  end loop;
end $$;

-- The wall-clock time that does not exist and would have been this moment.
create or replace function messenger.wall_time_in_gap(moment timestamptz, timezone text)
returns timestamp
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_moment timestamp := moment at time zone 'UTC';
  v_before timestamp := (moment - interval '26 hours') at time zone timezone - (v_moment - interval '26 hours') + v_moment;
begin
  return v_before;
end $$;

comment on function messenger.read_schedule_message(text, text, jsonb, public.messenger_schedules, timestamptz) is 'Checks name, type, payload, headers and route of a schedule; answers the row with them.';
comment on function messenger.wall_time_in_gap(timestamptz, text) is 'What the clock of the day before would have shown.';
comment on function public.messenger_schedule(text, text, jsonb, jsonb, text, jsonb) is
  'Saves a schedule by name: {"cron": "0 9 * * mon-fri"} | {"interval": ms, "startAt"?} | {"at": moment}. Options are the columns of messenger_schedules by name; those left out get their defaults. Returns the row. Refusals: SM_SCHEDULE, SM_CRON, SM_CRON_NEVER, SM_INTERVAL, SM_TIMEZONE, and those of a dispatch.';
comment on function public.messenger_unschedule(text) is 'Removes a schedule; messages it has stored stay. False when there is none of this name.';
comment on function public.messenger_pause_schedule(text) is 'Stops a schedule; true unless it was stopped or over. SM_NOT_FOUND.';
comment on function public.messenger_resume_schedule(text) is 'Lets a paused schedule run again from now on; false when it runs already or is over. SM_NOT_FOUND.';
comment on function public.messenger_schedule_preview(jsonb, text, timestamptz, int, jsonb) is
  'What a schedule would do after a moment (default now): up to count rows (1 to 1000). note: moved, first of the doubled hour, second of the doubled hour, or skipped by DST (then run_at is null). Jitter comes on top.';
revoke all on function messenger.read_schedule_message(text, text, jsonb, public.messenger_schedules, timestamptz), messenger.wall_time_in_gap(timestamptz, text), public.messenger_schedule(text, text, jsonb, jsonb, text, jsonb), public.messenger_unschedule(text), public.messenger_pause_schedule(text), public.messenger_resume_schedule(text), public.messenger_schedule_preview(jsonb, text, timestamptz, int, jsonb) from public, anon, authenticated;
grant execute on function messenger.read_schedule_message(text, text, jsonb, public.messenger_schedules, timestamptz), messenger.wall_time_in_gap(timestamptz, text), public.messenger_schedule(text, text, jsonb, jsonb, text, jsonb), public.messenger_unschedule(text), public.messenger_pause_schedule(text), public.messenger_resume_schedule(text), public.messenger_schedule_preview(jsonb, text, timestamptz, int, jsonb) to service_role;
