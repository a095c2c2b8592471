-- Proposes schedules for jobs of pg_cron. Nothing is changed: the script is for a person to read and run.

-- Differences of pg_cron: "$" is the last day of the month, and "30 seconds" is an interval. If one of the two day
-- fields begins with an asterisk, as */2 does, pg_cron requires both to match; a schedule of the bus requires either.
create or replace function messenger.schedule_of_cron(schedule text)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedule text := regexp_replace(btrim(schedule), '\s+', ' ', 'g');
  v_fields text[];
begin
  if v_schedule ~ '^[0-9]+ [sS][eE][cC][oO][nN][dD][sS]?$' then
    return jsonb_build_object('interval', split_part(v_schedule, ' ', 1)::bigint * 1000);
  elsif lower(v_schedule collate "C") = '@reboot' then
    return null;
  end if;
  v_fields := string_to_array(v_schedule, ' ');
  if cardinality(v_fields) = 5 then
    if v_fields[3] like '*%' or v_fields[5] like '*%' then
      if (v_fields[3] not like '*%' or messenger.read_cron_field('day', v_fields[3], 1, 31, null) <> repeat('1', 31))
        and (v_fields[5] not like '*%'
          or messenger.read_cron_field('weekday', v_fields[5], 0, 7, null) <> repeat('1', 7)) then
        perform messenger.raise_error('SM_CRON',
          format('pg_cron runs "%s" on days that match both day fields', left(v_schedule, 80)),
          'a schedule of the bus runs on days that match either: restrict one field, and '
            'let the handler check the other');
      end if;
    end if;
    v_fields[3] := replace(v_fields[3], '$', 'L');
  end if;
  return jsonb_build_object('cron', array_to_string(v_fields, ' '));
end $$;

-- A dollar-quote tag that does not occur in the text.
create or replace function messenger.dollar_tag(quoted text)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tag text := '$job$';
  v_n int := 0;
begin
  while strpos(quoted, v_tag) > 0 loop
    v_n := v_n + 1;
    v_tag := '$job' || v_n || '$';
  end loop;
  return v_tag;
end $$;

-- Definer: service_role may not read pg_cron's table. As in cron.job itself, a job is visible only to callers who may
-- act as the role it runs as, because its command may contain a secret. Within a definer function the setting "role"
-- still names the caller; it is none if the caller never changed it.
create or replace function messenger.import_cron(jobid bigint)
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_job record;
  v_name text;
  v_type text;
  v_function text;
  v_schedule jsonb;
  v_timezone text := coalesce(nullif(current_setting('cron.timezone', true), ''), 'GMT');
  v_options jsonb;
  v_reason text;
  v_body text;
  v_tag text;
  v_notes text[] := array[]::text[];
  v_caller name := coalesce(nullif(current_setting('role'), 'none'), session_user);
begin
  if to_regclass('cron.job') is null then
    perform messenger.raise_error('SM_UNAVAILABLE', 'pg_cron is not installed', 'create extension pg_cron');
  end if;
  execute 'select j.jobid, j.jobname::text, j.schedule, j.command, j.active, j.username::text, j.database::text from '
    'cron.job j where j.jobid = $1' into v_job using jobid;
  if v_job.jobid is null or not coalesce(pg_has_role(
    v_caller, (select r.oid from pg_catalog.pg_roles r where r.rolname = v_job.username), 'usage'), false) then
    perform messenger.raise_error('SM_NOT_FOUND',
      'pg_cron has no job ' || coalesce(jobid::text, 'null') || ' that role ' || v_caller || ' may see',
      'run select jobid, jobname, username from cron.job as the role the job runs as, or as a member of that role');
  elsif v_job.jobname in ('symphony-clock', 'symphony-handlers') then
    perform messenger.raise_error('SM_CONFLICT', v_job.jobname || ' is a job of Symphony Messenger',
      'import another job');
  end if;
  v_reason := messenger.needs_no_transaction(v_job.command);
  if v_reason is not null then
    perform messenger.raise_error('SM_CONFLICT',
      format('the command of job %s cannot run inside a function, as a handler does: %s', v_job.jobid, v_reason),
      'leave this job to pg_cron');
  end if;

  v_schedule := messenger.schedule_of_cron(v_job.schedule);
  if v_schedule is null then
    perform messenger.raise_error('SM_CRON', v_job.schedule || ' has no due moments', 'leave this job to pg_cron');
  end if;
  v_timezone := case when v_timezone in ('GMT', 'Etc/GMT') then 'UTC' else v_timezone end;
  -- Raises the error of messenger_schedule if the bus cannot run the expression.
  perform messenger.read_schedule(v_schedule, v_timezone, '{}', messenger.now());

  v_options := jsonb_build_object('misfire', 'skip', 'enabled', v_job.active);

  -- The job id, which pg_cron never reuses, keeps apart two jobs of similar names.
  v_name := left(btrim(regexp_replace(coalesce(nullif(v_job.jobname, ''), 'job ' || v_job.jobid), '[/[:cntrl:]]', '-',
    'g')), 128);
  v_type := coalesce(nullif(trim(both '_'
    from left(regexp_replace(coalesce(v_job.jobname, ''), '[^A-Za-z0-9]+', '_', 'g'), 90)), ''), 'job') || '_'
      || v_job.jobid;
  v_function := 'public.' || quote_ident('run_cron_' || left(lower(v_type collate "C"), 33) || '_' || v_job.jobid);
  v_type := 'cron.' || v_type;

  if v_job.command ~* 'net\.http_(post|get|delete)' then
    v_notes := v_notes
      || 'The command makes an HTTP call, and the handler completes as soon as the call is queued. Instead, schedule '
        'a message type whose handler makes the call: failed calls are then retried and recorded.'::text;
  end if;
  if exists (select from messenger.leading_words(v_job.command) w(words) where w.words ~ '^(CALL|DO)(\s|$)') then
    v_notes := v_notes
      || 'The command runs a procedure or a DO block. Inside a handler it must not commit or roll back. If it does, '
        'every run fails, and the job should stay with pg_cron.'::text;
  end if;
  if not v_job.active then
    v_notes := v_notes || 'The job is inactive, so the schedule is disabled.'::text;
  end if;
  if v_job.username <> current_user then
    v_notes := v_notes || format('The job runs as role %I; handlers run as role %I, the owner of the schema messenger.',
      v_job.username, current_user);
  end if;
  if v_job.database <> current_database() then
    v_notes := v_notes
      || format('The job runs in database %I; the handler runs in this database, %I.', v_job.database,
        current_database());
  end if;
  v_notes := v_notes
    || 'After an outage pg_cron does not run missed occurrences; the schedule does the same with misfire skip. Remove '
      'the option to run once instead.'::text;

  -- EXECUTE accepts several statements and comments, and discards returned rows.
  v_tag := messenger.dollar_tag(v_job.command);
  v_body := format(E'  execute %s%s%s;', v_tag, v_job.command, v_tag);
  v_tag := messenger.dollar_tag(v_body);
  return jsonb_build_object(
    'job', jsonb_build_object('jobid', v_job.jobid, 'jobname', v_job.jobname, 'schedule', v_job.schedule, 'command',
      v_job.command, 'active', v_job.active),
    'schedule', jsonb_build_object('name', v_name, 'type', v_type, 'schedule', v_schedule, 'timezone', v_timezone,
      'options', v_options),
    'sql', format(
      E'-- pg_cron''s job %s, as a schedule of the bus.\nbegin;\n\n'
      'create or replace function %s(payload jsonb)\nreturns jsonb\nlanguage plpgsql\nset search_path = public, '
      'extensions\nas %s\nbegin\n%s\n  return null;\nend %s;\n'
      'revoke all on function %s(jsonb) from public, anon, authenticated, service_role;\n\n'
      'select messenger.set_sql_handler(%L, %L);\n'
      'select messenger_schedule(name => %L, type => %L, schedule => %L, timezone => %L, options => %L);\n'
      'select cron.unschedule(%s);\n\ncommit;\n',
      v_job.jobid, v_function, v_tag, v_body, v_tag, v_function, v_type, v_function, v_name, v_type, v_schedule,
      v_timezone, v_options, v_job.jobid),
    'notes', to_jsonb(v_notes));
end $$;

create or replace function public.messenger_import_cron(jobid bigint)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.import_cron(jobid) $$;

comment on function messenger.schedule_of_cron(text) is
  'A schedule of pg_cron in the form that messenger_schedule takes; null for @reboot. Raises SM_CRON if '
  'pg_cron requires both day fields to match.';
comment on function messenger.dollar_tag(text) is 'A dollar-quote tag that can quote this text.';
comment on function messenger.import_cron(bigint) is 'See public.messenger_import_cron.';
comment on function public.messenger_import_cron(bigint) is
  'Proposes a schedule for a job of pg_cron and changes nothing: {"job", "schedule" (arguments of messenger_schedule), '
  '"sql" (a script that creates the handler and the schedule and unschedules the job), "notes"}. Raises SM_NOT_FOUND '
  '(no such job, or the caller is not a member of its role), SM_CONFLICT (a job of Symphony Messenger, or a command '
  'that cannot run inside a function), SM_CRON (an expression that the bus does not support), SM_UNAVAILABLE (no '
  'pg_cron). Example: select messenger_import_cron(7) ->> ''sql'';';
revoke all on function
  messenger.schedule_of_cron(text),
  messenger.dollar_tag(text),
  messenger.import_cron(bigint),
  public.messenger_import_cron(bigint)
from public, anon, authenticated, service_role;
grant execute on function messenger.import_cron(bigint), public.messenger_import_cron(bigint) to service_role;
