-- The jobs that pg_cron runs: the ticker, and the one for SQL handlers.

-- Both are DO blocks, which may commit; a procedure with a pinned search_path may not (tried). A run lasts about a minute.

-- From 1.5 on pg_cron takes seconds: a run that is over, or whose backend was lost, has a successor within five seconds. Before that only the next
-- minute starts one; and a launcher before 1.5 waits for the end of one running job before it looks at any other (pg_cron issue 200).
create or replace function messenger.job_schedule()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when exists (
      select from pg_catalog.pg_extension e
      where e.extname = 'pg_cron' and array[split_part(e.extversion, '.', 1)::int, substring(split_part(e.extversion, '.', 2) from '^[0-9]+')::int] >= '{1,5}')
    then '5 seconds' else '* * * * *' end
$$;

create or replace function messenger.job_ends_at(started_at timestamptz)
returns timestamptz
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select date_bin('1 minute', started_at + interval '10 seconds', '2000-01-01 00:00+00') + interval '59 seconds' $$;

-- While a handler runs the ticker stays: it cancels what hangs, and an old launcher would not start it again before the handler has ended.
create or replace function messenger.may_end(ends_at timestamptz)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return clock_timestamp() >= ends_at and not exists (
    select from messenger.sql_runners r where r.message_id is not null and messenger.is_backend_alive(r.pid, r.backend_start));
exception when lock_not_available then
  return false;
end $$;

-- What a role or database may have set for its sessions and a job cannot live with. It holds from the next transaction on: this one may be read only.
create or replace function messenger.prepare_job()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- A step that meets a row changed since its snapshot would fail, where "skip locked" must go on.
  perform set_config('default_transaction_isolation', 'read committed', false), set_config('default_transaction_read_only', 'off', false);
  if current_setting('transaction_timeout', true) is not null then
    perform set_config('transaction_timeout', '0', false);
  end if;
end $$;

-- A DO block is one statement, and statement_timeout strikes it once, so many milliseconds after its beginning: it cannot be set again inside. A
-- strike in a sleep can be caught, and nothing strikes again before the next statement. So two seconds before the strike comes the job sleeps
-- until it has come. Returns when it will come, or null once it has.
create or replace function messenger.outlive_statement_timeout(strikes_at timestamptz)
returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if strikes_at > clock_timestamp() + interval '2 seconds' then
    return strikes_at;
  elsif strikes_at is not null then
    perform pg_sleep(extract(epoch from strikes_at - clock_timestamp()) + 0.1);
  end if;
  return null;
exception when query_canceled then
  return null;
end $$;

-- A tick begins with each full second, or at once where the one before was longer.
create or replace function messenger.ticker_command()
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $command$
  select $job$do $$
declare
  v_strikes_at timestamptz := statement_timestamp() + nullif(current_setting('statement_timeout')::interval, '0');
  v_ends_at timestamptz := messenger.job_ends_at(clock_timestamp());
  v_next_at timestamptz;
begin
  perform messenger.prepare_job();
  commit;
  loop
    v_strikes_at := messenger.outlive_statement_timeout(v_strikes_at);
    commit;
    v_next_at := date_trunc('second', clock_timestamp()) + interval '1 second';
    exit when not messenger.tick_or_note_error();
    commit;
    exit when messenger.may_end(v_ends_at);
    perform pg_sleep(extract(epoch from v_next_at - clock_timestamp()));
  end loop;
end $$$job$
$command$;

-- Claims are committed before their handlers run; while there is work it does not sleep.
create or replace function messenger.handlers_command()
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $command$
  select $job$do $$
declare
  v_strikes_at timestamptz := statement_timestamp() + nullif(current_setting('statement_timeout')::interval, '0');
  v_ends_at timestamptz := messenger.job_ends_at(clock_timestamp());
  v_message messenger.claimed;
  v_goes_on boolean;
begin
  perform messenger.prepare_job();
  commit;
  loop
    v_strikes_at := messenger.outlive_statement_timeout(v_strikes_at);
    commit;
    v_goes_on := clock_timestamp() < v_ends_at and messenger.is_ticker_enabled();
    v_message := messenger.work_off(v_message, v_goes_on, v_strikes_at);
    commit;
    continue when v_message.id is not null;
    exit when not v_goes_on;
    perform pg_sleep(1);
  end loop;
end $$$job$
$command$;

-- While a type has an SQL handler or a function is subscribed to an event, and until the events on their way are worked off.
create or replace function messenger.needs_handlers_job()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
  return exists (select from messenger.message_types k where k.sql_handler is not null and k.type <> 'symphony.event')
    or exists (select from messenger.subscriptions s where s.kind = 'function')
    or exists (select from public.messenger_messages m where m.transport_name = 'supabase' and m.queue_name = 'events' and m.processed_at is null);
end $$;

-- Definer: pg_cron runs a job as the role that schedules it, and these must be the owner's. A job that is unscheduled is ended with its backend, so
-- that waits until no handler runs.
create or replace function messenger.sync_handlers_job()
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_job record;
  v_is_wanted boolean;
begin
  if to_regclass('cron.job') is null then
    return;
  end if;
  select j.jobid, j.schedule, j.command into v_job from cron.job j where j.jobname = 'symphony-handlers';
  v_is_wanted := coalesce((select s.clock_enabled from messenger.settings s), false) and messenger.needs_handlers_job();
  if v_is_wanted and (v_job.command, v_job.schedule) is distinct from (messenger.handlers_command(), messenger.job_schedule()) then
    perform cron.schedule('symphony-handlers', messenger.job_schedule(), messenger.handlers_command());
  elsif v_job.jobid is not null and not v_is_wanted and messenger.may_end('-infinity') then
    perform cron.unschedule(v_job.jobid);
  end if;
end $$;

comment on function messenger.job_schedule() is 'The schedule of our jobs: each five seconds where pg_cron takes seconds, else each minute.';
comment on function messenger.job_ends_at(timestamptz) is 'When a run that began then ends: at second 59.';
comment on function messenger.may_end(timestamptz) is 'Whether the ticker''s run may end: its time is over and no SQL handler is running.';
comment on function messenger.prepare_job() is 'Makes the session of a job read committed and writable, whatever the role or database says.';
comment on function messenger.outlive_statement_timeout(timestamptz) is 'Lets the statement_timeout of a job strike where it does no harm.';
comment on function messenger.ticker_command() is 'The command of the pg_cron job symphony-clock: a tick per second, one transaction each. It holds no secret.';
comment on function messenger.handlers_command() is 'The command of the pg_cron job symphony-handlers: runs SQL handlers, one transaction each. It holds no secret.';
comment on function messenger.needs_handlers_job() is 'Whether anything is there that the job symphony-handlers runs.';
comment on function messenger.sync_handlers_job() is 'Schedules the job symphony-handlers while the ticker is on and the job is needed, and unschedules it otherwise.';
revoke all on function messenger.job_schedule(), messenger.job_ends_at(timestamptz), messenger.may_end(timestamptz), messenger.prepare_job(),
  messenger.outlive_statement_timeout(timestamptz), messenger.ticker_command(), messenger.handlers_command(),
  messenger.needs_handlers_job(), messenger.sync_handlers_job() from public, anon, authenticated, service_role;
