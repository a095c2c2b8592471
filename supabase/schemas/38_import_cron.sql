-- Jobs of pg_cron, read and proposed as schedules of the bus. Nothing is changed: the script is for a person to read and run.

-- pg_cron's own dialect: "$" is the last day of the month, "30 seconds" an interval, an asterisk in one of the two day fields makes both count.
create or replace function messenger.schedule_of_cron(schedule text)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schedule text := regexp_replace(btrim(schedule), '\s+', ' ', 'g');
  v_fields text[];
begin
  if v_schedule ~* '^[0-9]+ seconds?$' then
    return jsonb_build_object('interval', split_part(v_schedule, ' ', 1)::bigint * 1000);
  elsif v_schedule ~* '^@reboot$' then
    return null;
  end if;
  v_fields := string_to_array(v_schedule, ' ');
  if cardinality(v_fields) = 5 then
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
  v_command text;
  v_body text;
  v_tag text;
  v_notes text[] := array[]::text[];
  v_caller name := coalesce(nullif(current_setting('role'), 'none'), session_user);
begin
  if to_regclass('cron.job') is null then
    perform messenger.refuse('SM_UNAVAILABLE', 'pg_cron is not installed');
  end if;
  execute 'select j.jobid, j.jobname::text, j.schedule, j.command, j.active, j.username::text, j.database::text from cron.job j where j.jobid = $1' into v_job using jobid;
  if v_job.jobid is null or not coalesce(pg_has_role(v_caller, (select r.oid from pg_catalog.pg_roles r where r.rolname = v_job.username), 'usage'), false) then
    perform messenger.refuse('SM_NOT_FOUND', 'pg_cron has no job ' || coalesce(jobid::text, 'without a number') || ' that ' || v_caller || ' may see',
      'select jobid, jobname, username from cron.job, as the role the job runs as or one that is a member of it');
  elsif v_job.jobname = 'symphony-clock' then
    perform messenger.refuse('SM_CONFLICT', 'symphony-clock is the clock that runs the schedules');
  end if;

  v_schedule := messenger.schedule_of_cron(v_job.schedule);
  if v_schedule is null then
    perform messenger.refuse('SM_CRON', v_job.schedule || ' has no moment that could be due');
  end if;
  v_timezone := case when v_timezone in ('GMT', 'Etc/GMT') then 'UTC' else v_timezone end;
  -- The bus' own refusal where the expression is none of its dialect.
  perform messenger.read_schedule(v_schedule, v_timezone, '{}', messenger.now());

  v_name := left(btrim(regexp_replace(coalesce(nullif(v_job.jobname, ''), 'job ' || v_job.jobid), '[/[:cntrl:]]', '-', 'g')), 128);
  v_type := 'cron.' || trim(both '_' from left(regexp_replace(v_name, '[^A-Za-z0-9]+', '_', 'g'), 100));
  v_type := case when v_type = 'cron.' then 'cron.job_' || v_job.jobid else v_type end;
  v_function := 'run_' || lower(regexp_replace(v_type, '[^A-Za-z0-9]+', '_', 'g'));
  v_function := 'public.' || quote_ident(left(v_function, 60));

  v_command := rtrim(v_job.command, E' \t\r\n;');
  v_body := v_command || ';';
  if v_command ~* '^\s*(vacuum|create\s+database|reindex\s+database|alter\s+system|call)\M' or v_command ~* '\m(commit|rollback)\M' then
    v_body := '  -- ' || replace(v_command, E'\n', E'\n  -- ') || E'\n  raise exception ''this job cannot run inside a transaction'';';
    v_notes := v_notes || 'The command may need to run outside a transaction (VACUUM, CALL with COMMIT and the like), which a handler cannot: leave this job to pg_cron.'::text;
  else
    v_body := '  ' || case when v_command ~* '^\s*select\M' and strpos(v_command, ';') = 0 then regexp_replace(v_body, '^\s*select\M', 'perform', 'i') else v_body end;
  end if;
  if v_command ~* 'net\.http_(post|get)' then
    v_notes := v_notes || 'The command calls over HTTP. Instead of a call that nobody watches, make a message type whose handler does the work, and schedule that: it is retried, and its failures are kept.'::text;
  end if;
  if v_command ~* '^\s*do\M' then
    v_notes := v_notes || 'The command is a DO block: its body can stand in the handler itself.'::text;
  end if;
  if not v_job.active then
    v_notes := v_notes || 'The job is switched off; so is the schedule.'::text;
  end if;
  if v_job.username <> current_user then
    v_notes := v_notes || format('The job runs as %I; handlers run as the clock''s owner, %I.', v_job.username, current_user);
  end if;
  if v_job.database <> current_database() then
    v_notes := v_notes || format('The job runs in database %I; the handler runs in this one, %I.', v_job.database, current_database());
  end if;
  v_notes := v_notes || 'After an outage pg_cron runs nothing of what was missed; the schedule has misfire skip for that. Remove the option to have one run instead.'::text;

  v_tag := messenger.dollar_tag(v_body);
  return jsonb_build_object(
    'job', jsonb_build_object('jobid', v_job.jobid, 'jobname', v_job.jobname, 'schedule', v_job.schedule, 'command', v_job.command, 'active', v_job.active),
    'schedule', jsonb_build_object('name', v_name, 'type', v_type, 'schedule', v_schedule, 'timezone', v_timezone,
      'options', jsonb_build_object('misfire', 'skip', 'enabled', v_job.active)),
    'sql', format(E'-- pg_cron''s job %s, as a schedule of the bus.\nbegin;\n\ncreate or replace function %s(payload jsonb)\nreturns jsonb\nlanguage plpgsql\nset search_path = public, extensions\nas %s\nbegin\n%s\n  return null;\nend %s;\nrevoke all on function %s(jsonb) from public, anon, authenticated, service_role;\n\nselect messenger.set_sql_handler(%L, %L);\nselect messenger_schedule(name => %L, type => %L, schedule => %L, timezone => %L, options => %L);\nselect cron.unschedule(%s);\n\ncommit;\n',
      v_job.jobid, v_function, v_tag, v_body, v_tag, v_function, v_type, v_function, v_name, v_type, v_schedule, v_timezone,
      jsonb_build_object('misfire', 'skip', 'enabled', v_job.active), v_job.jobid),
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
  'Proposes a schedule for a job of pg_cron and changes nothing: {"job", "schedule" (arguments of messenger_schedule), "sql" (a script that makes the handler, the schedule, and unschedules the job), "notes"}. SM_NOT_FOUND (no such job, or one of a role that the caller is not a member of), SM_CONFLICT (the bus'' own clock), SM_CRON (an expression of pg_cron that the bus does not have), SM_UNAVAILABLE (no pg_cron).';
revoke all on function messenger.schedule_of_cron(text), messenger.dollar_tag(text), messenger.import_cron(bigint), public.messenger_import_cron(bigint)
  from public, anon, authenticated, service_role;
grant execute on function messenger.import_cron(bigint), public.messenger_import_cron(bigint) to service_role;
