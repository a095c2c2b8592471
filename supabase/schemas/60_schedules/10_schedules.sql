-- Saves, pauses, resumes, removes and previews schedules.

-- The message is checked as in a dispatch, with the headers it will carry. The route of its type
-- is resolved here, when the schedule is saved.
create or replace function messenger.read_schedule_message(
  name text, type text, payload jsonb, schedule public.messenger_schedules, at timestamptz
)
returns public.messenger_schedules
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.messenger_schedules := schedule;
  v_draft record;
begin
  if name is null or length(name) not between 1 and 128 or name ~ '[/\x01-\x1f\x7f]' or name <> btrim(name) then
    perform messenger.raise_error('SM_SCHEDULE',
      'the name must have 1 to 128 characters, no slash or control character, and no space around it',
      'choose another name');
  end if;
  select d.* into v_draft
  from messenger.read_drafts((
    select jsonb_build_array(jsonb_object_agg(given.field, given.value) filter (where given.value is not null))
    from (values
      ('type', to_jsonb(type)), ('payload', coalesce(payload, '{}')), ('queue', to_jsonb(v_row.queue_name)),
      ('transport', to_jsonb(v_row.transport_name)),
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

-- Saving an unchanged schedule keeps its state: a due run stays due, a finished
-- schedule stays finished, a paused one stays paused.
create or replace function public.messenger_schedule(
  name text, type text, schedule jsonb, payload jsonb default '{}', timezone text default 'UTC',
  options jsonb default '{}'
)
returns public.messenger_schedules
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_new public.messenger_schedules := messenger.read_schedule(messenger_schedule.schedule, messenger_schedule.timezone,
    messenger_schedule.options, v_now);
  v_old public.messenger_schedules;
  v_is_same boolean;
begin
  perform messenger.require_writable();
  v_new := messenger.read_schedule_message(
    messenger_schedule.name, messenger_schedule.type, messenger_schedule.payload, v_new, v_now);
  v_new.run_count := 0;
  v_new.updated_at := v_now;
  loop
    select s.* into v_old from public.messenger_schedules s where s.name = v_new.name for update;
    v_is_same := false;
    if found then
      v_is_same := (v_old.schedule_config, v_old.timezone, v_old.starts_at, v_old.ends_at,
          v_old.dst_gap, v_old.dst_overlap)
        is not distinct from (v_new.schedule_config, v_new.timezone, v_new.starts_at, v_new.ends_at,
          v_new.dst_gap, v_new.dst_overlap);
      v_new.created_at := v_old.created_at;
      v_new.last_run_at := v_old.last_run_at;
      v_new.run_count := v_old.run_count;
    end if;
    v_new.next_run_at := case when v_is_same and v_old.next_run_at is not null
      and (v_old.enabled or v_new.enabled is not true)
      then messenger.due_since(v_old) else messenger.first_run(v_new, v_now) end;
    if v_new.run_count >= v_new.max_runs then
      v_new.next_run_at := null;
    end if;
    if not v_is_same and (v_new.next_run_at is null
      or v_new.schedule_type = 'once' and v_new.misfire = 'skip'
        and v_new.next_run_at < v_now - v_new.misfire_grace_ms * interval '1 millisecond') then
      perform messenger.raise_error('SM_SCHEDULE',
        'it never runs: its occurrences are in the past or outside of starts_at and ends_at, or max_runs is reached',
        'change the moment, starts_at, ends_at or max_runs');
    end if;
    v_new.enabled := v_new.next_run_at is not null
      and coalesce(v_new.enabled, v_old.enabled or v_old.next_run_at is null, true);

    if v_old.id is not null then
      update public.messenger_schedules s
      set message_type = v_new.message_type, transport_name = v_new.transport_name, queue_name = v_new.queue_name,
          body = v_new.body, headers = v_new.headers,
          schedule_type = v_new.schedule_type, schedule_config = v_new.schedule_config, timezone = v_new.timezone,
          next_run_at = v_new.next_run_at,
          max_runs = v_new.max_runs, enabled = v_new.enabled, starts_at = v_new.starts_at, ends_at = v_new.ends_at,
          misfire = v_new.misfire,
          misfire_grace_ms = v_new.misfire_grace_ms, catch_up_limit = v_new.catch_up_limit, dst_gap = v_new.dst_gap,
          dst_overlap = v_new.dst_overlap,
          overlap = v_new.overlap, jitter_ms = v_new.jitter_ms, last_error = null, updated_at = v_now
      where s.id = v_old.id
      returning s.* into v_new;
      delete from messenger.schedule_backoffs b where b.schedule_id = v_old.id;
      exit;
    end if;
    v_new.id := gen_random_uuid();
    insert into public.messenger_schedules select v_new.* on conflict do nothing;
    exit when found;
    -- Another session has just saved the first schedule of this name: compare with that row.
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
  update public.messenger_schedules s set enabled = false, updated_at = messenger.now()
  where s.id = v_schedule.id and s.enabled;
  return found;
end $$;

-- Occurrences due during the pause are dropped, except that of a schedule that runs once: its misfire policy decides.
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
  update public.messenger_schedules s set enabled = v_next is not null, next_run_at = v_next, updated_at = v_now
  where s.id = v_schedule.id;
  delete from messenger.schedule_backoffs b where b.schedule_id = v_schedule.id;
  return v_next is not null;
end $$;

create or replace function public.messenger_schedule_preview(
  schedule jsonb, timezone text default 'UTC', from_time timestamptz default null, count int default 10,
  options jsonb default '{}'
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
    perform messenger.raise_error('SM_SCHEDULE', 'count must be a whole number from 1 to 1000', 'default: 10');
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
      -- The wall-clock time in the gap does not exist, so it is computed with the offset before the change.
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

create or replace function messenger.wall_time_in_gap(moment timestamptz, timezone text)
returns timestamp
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_moment timestamp := moment at time zone 'UTC';
  v_before timestamp :=
    (moment - interval '26 hours') at time zone timezone - (v_moment - interval '26 hours') + v_moment;
begin
  return v_before;
end $$;

comment on function messenger.read_schedule_message(text, text, jsonb, public.messenger_schedules, timestamptz) is
  'Checks name, type, payload, headers and route of a schedule and returns the row with them. Raises '
  'SM_SCHEDULE and the errors of a dispatch.';
comment on function messenger.wall_time_in_gap(timestamptz, text) is
  'The wall-clock time that this moment would have had, computed with the offset of 26 hours before.';
comment on function public.messenger_schedule(text, text, jsonb, jsonb, text, jsonb) is
  'Saves a schedule by name: {"cron": "0 9 * * mon-fri"}, {"interval": ms, "startAt"?} or {"at": moment}. '
  'Moments are ISO 8601 with a zone. options has columns of messenger_schedules by name; those left out get '
  'their defaults. Returns the row. Raises SM_SCHEDULE, SM_CRON, SM_CRON_NEVER, SM_INTERVAL, SM_TIMEZONE and the '
  'errors of a dispatch. Example: select messenger_schedule(''report'', ''SendReport'', ''{"cron": "0 9 * * '
  'mon-fri"}'', timezone => ''Europe/Berlin'');';
comment on function public.messenger_unschedule(text) is
  'Removes a schedule; messages it has stored stay. Returns false if there is no schedule of this name. '
  'Example: select messenger_unschedule(''report'');';
comment on function public.messenger_pause_schedule(text) is
  'Pauses a schedule. Returns true, or false if it was already paused or has finished. Raises SM_NOT_FOUND. Example: '
  'select messenger_pause_schedule(''report'');';
comment on function public.messenger_resume_schedule(text) is
  'Resumes a paused schedule from now on. Returns true, or false if it was not paused or has finished. Raises '
  'SM_NOT_FOUND. Example: select messenger_resume_schedule(''report'');';
comment on function public.messenger_schedule_preview(jsonb, text, timestamptz, int, jsonb) is
  'The next occurrences of a schedule after from_time (default: now): up to count rows (1 to 1000) of run_at, '
  'local_time and note. note: moved, first of the doubled hour, second of the doubled hour, or skipped by DST (run_at '
  'is then null). Jitter is not included. Raises SM_SCHEDULE, SM_CRON, SM_CRON_NEVER, SM_INTERVAL, SM_TIMEZONE. '
  'Example: select * from messenger_schedule_preview(''{"cron": "30 2 * * *"}'', ''Europe/Berlin'', count => 3);';
revoke all on function
  messenger.read_schedule_message(text, text, jsonb, public.messenger_schedules, timestamptz),
  messenger.wall_time_in_gap(timestamptz, text),
  public.messenger_schedule(text, text, jsonb, jsonb, text, jsonb),
  public.messenger_unschedule(text),
  public.messenger_pause_schedule(text),
  public.messenger_resume_schedule(text),
  public.messenger_schedule_preview(jsonb, text, timestamptz, int, jsonb)
from public, anon, authenticated;
grant execute on function
  messenger.read_schedule_message(text, text, jsonb, public.messenger_schedules, timestamptz),
  messenger.wall_time_in_gap(timestamptz, text),
  public.messenger_schedule(text, text, jsonb, jsonb, text, jsonb),
  public.messenger_unschedule(text),
  public.messenger_pause_schedule(text),
  public.messenger_resume_schedule(text),
  public.messenger_schedule_preview(jsonb, text, timestamptz, int, jsonb)
to service_role;
