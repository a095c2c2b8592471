-- Jobs of pg_cron, read and proposed as schedules of the bus. Nothing is changed: the script is for a person to read and run.

-- pg_cron's own dialect: "$" is the last day of the month, "30 seconds" an interval. A day field that begins with an asterisk, such as */2, makes both
-- day fields count; here such a field restricts, and then either counts.
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
        and (v_fields[5] not like '*%' or messenger.read_cron_field('weekday', v_fields[5], 0, 7, null) <> repeat('1', 7)) then
        perform messenger.raise_error('SM_CRON', format('pg_cron runs "%s" on days that match both day fields', left(v_schedule, 80)),
          'a schedule of the bus runs on days that match either: restrict one field, and let the handler look at the other');
      end if;
    end if;
    v_fields[3] := replace(v_fields[3], '$', 'L');
  end if;
  return jsonb_build_object('cron', array_to_string(v_fields, ' '));
end $$;

-- A tag for dollar quotes that the text itself does not hold.
create or replace function messenger.dollar_tag(held text)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tag text := '$job$';
  v_n int := 0;
begin
  while strpos(held, v_tag) > 0 loop
    v_n := v_n + 1;
    v_tag := '$job' || v_n || '$';
  end loop;
  return v_tag;
end $$;

-- Definer: pg_cron's table is not for service_role. As in cron.job itself, a job is shown to its owner only, that is to a caller who may act as the
-- role it runs as: a command may hold a secret. Within a definer function the setting "role" still names the caller, or none where it never changed.
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
  execute 'select j.jobid, j.jobname::text, j.schedule, j.command, j.active, j.username::text, j.database::text from cron.job j where j.jobid = $1' into v_job using jobid;
  if v_job.jobid is null or not coalesce(pg_has_role(v_caller, (select r.oid from pg_catalog.pg_roles r where r.rolname = v_job.username), 'usage'), false) then
    perform messenger.raise_error('SM_NOT_FOUND', 'pg_cron has no job ' || coalesce(jobid::text, 'without a number') || ' that ' || v_caller || ' may see',
      'select jobid, jobname, username from cron.job, as the role the job runs as or one that is a member of it');
  elsif v_job.jobname in ('symphony-clock', 'symphony-handlers') then
    perform messenger.raise_error('SM_CONFLICT', v_job.jobname || ' is a job of the bus itself', 'leave it as it is');
  end if;
  v_reason := messenger.needs_no_transaction(v_job.command);
  if v_reason is not null then
    perform messenger.raise_error('SM_CONFLICT', format('the command of job %s cannot run inside a function, as a handler does: %s', v_job.jobid, v_reason),
      'leave this job to pg_cron');
  end if;

  v_schedule := messenger.schedule_of_cron(v_job.schedule);
  if v_schedule is null then
    perform messenger.raise_error('SM_CRON', v_job.schedule || ' has no moment that could be due', 'leave this job to pg_cron');
  end if;
  v_timezone := case when v_timezone in ('GMT', 'Etc/GMT') then 'UTC' else v_timezone end;
  -- The bus' own error where the expression is none of its dialect.
  perform messenger.read_schedule(v_schedule, v_timezone, '{}', messenger.now());

  v_options := jsonb_build_object('misfire', 'skip', 'enabled', v_job.active);

  -- With the job's number, which pg_cron never gives twice: two jobs of similar names share neither type nor function.
  v_name := left(btrim(regexp_replace(coalesce(nullif(v_job.jobname, ''), 'job ' || v_job.jobid), '[/[:cntrl:]]', '-', 'g')), 128);
  v_type := coalesce(nullif(trim(both '_' from left(regexp_replace(coalesce(v_job.jobname, ''), '[^A-Za-z0-9]+', '_', 'g'), 90)), ''), 'job') || '_' || v_job.jobid;
  v_function := 'public.' || quote_ident('run_cron_' || left(lower(v_type collate "C"), 33) || '_' || v_job.jobid);
  v_type := 'cron.' || v_type;

  if v_job.command ~* 'net\.http_(post|get|delete)' then
    v_notes := v_notes || 'The command calls over HTTP, and the handler completes when the call is queued. Instead, define a message type whose handler makes the call, and schedule that: it is retried, and its failures are kept.'::text;
  end if;
  if exists (select from messenger.leading_words(v_job.command) w(words) where w.words ~ '^(CALL|DO)(\s|$)') then
    v_notes := v_notes || 'The command runs a procedure or a DO block. Inside a handler it may not commit or roll back: if it does, each run fails, and the job should stay with pg_cron.'::text;
  end if;
  if not v_job.active then
    v_notes := v_notes || 'The job is switched off; so is the schedule.'::text;
  end if;
  if v_job.username <> current_user then
    v_notes := v_notes || format('The job runs as %I; handlers run as the owner of the bus, %I.', v_job.username, current_user);
  end if;
  if v_job.database <> current_database() then
    v_notes := v_notes || format('The job runs in database %I; the handler runs in this one, %I.', v_job.database, current_database());
  end if;
  v_notes := v_notes || 'After an outage pg_cron runs nothing of what was missed; the schedule has misfire skip for that. Remove the option to have one run instead.'::text;

  -- The command as it stands: what EXECUTE runs may be several statements, hold comments, and return rows that nobody reads.
  v_tag := messenger.dollar_tag(v_job.command);
  v_body := format(E'  execute %s%s%s;', v_tag, v_job.command, v_tag);
  v_tag := messenger.dollar_tag(v_body);
  return jsonb_build_object(
    'job', jsonb_build_object('jobid', v_job.jobid, 'jobname', v_job.jobname, 'schedule', v_job.schedule, 'command', v_job.command, 'active', v_job.active),
    'schedule', jsonb_build_object('name', v_name, 'type', v_type, 'schedule', v_schedule, 'timezone', v_timezone, 'options', v_options),
    'sql', format(
      E'-- pg_cron''s job %s, as a schedule of the bus.\nbegin;\n\n'
      'create or replace function %s(payload jsonb)\nreturns jsonb\nlanguage plpgsql\nset search_path = public, extensions\nas %s\nbegin\n%s\n  return null;\nend %s;\n'
      'revoke all on function %s(jsonb) from public, anon, authenticated, service_role;\n\n'
      'select messenger.set_sql_handler(%L, %L);\n'
      'select messenger_schedule(name => %L, type => %L, schedule => %L, timezone => %L, options => %L);\n'
      'select cron.unschedule(%s);\n\ncommit;\n',
      v_job.jobid, v_function, v_tag, v_body, v_tag, v_function, v_type, v_function, v_name, v_type, v_schedule, v_timezone, v_options, v_job.jobid),
    'notes', to_jsonb(v_notes));
end $$;

create or replace function public.messenger_import_cron(jobid bigint)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.import_cron(jobid) $$;

comment on function messenger.schedule_of_cron(text) is 'A schedule of pg_cron as messenger_schedule takes it; null for @reboot.';
comment on function messenger.dollar_tag(text) is 'A dollar quote that can hold this text.';
comment on function messenger.import_cron(bigint) is 'See public.messenger_import_cron.';
comment on function public.messenger_import_cron(bigint) is
  'Proposes a schedule for a job of pg_cron and changes nothing: {"job", "schedule" (arguments of messenger_schedule), "sql" (a script that makes the handler, the schedule, and unschedules the job), "notes"}. SM_NOT_FOUND (no such job, or one of a role that the caller is not a member of), SM_CONFLICT (a job of the bus itself, or a command that cannot run inside a function), SM_CRON (an expression of pg_cron that the bus does not have), SM_UNAVAILABLE (no pg_cron).';
revoke all on function messenger.schedule_of_cron(text), messenger.dollar_tag(text), messenger.import_cron(bigint), public.messenger_import_cron(bigint)
  from public, anon, authenticated, service_role;
grant execute on function messenger.import_cron(bigint), public.messenger_import_cron(bigint) to service_role;
