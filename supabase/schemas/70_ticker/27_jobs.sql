-- The two pg_cron jobs: the ticker (symphony-clock) and the runner of SQL handlers (symphony-handlers).

-- Both commands are DO blocks, which may commit; a procedure with a pinned
-- search_path may not (tried). A run lasts about a minute.

-- pg_cron 1.5 and later accept seconds: a run that has ended, or whose backend was lost, is followed by another within
-- five seconds. Earlier versions start one per minute, and their launcher waits for the end of a running job before it
-- checks any other (pg_cron issue 200).
create or replace function messenger.job_schedule()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when exists (
      select from pg_catalog.pg_extension e
      where e.extname = 'pg_cron' and array[split_part(e.extversion, '.', 1)::int,
        substring(split_part(e.extversion, '.', 2) from '^[0-9]+')::int] >= '{1,5}')
    then '5 seconds' else '* * * * *' end
$$;

create or replace function messenger.job_ends_at(started_at timestamptz)
returns timestamptz
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select date_bin('1 minute', started_at + interval '10 seconds', '2000-01-01 00:00+00') + interval '59 seconds' $$;

-- While an SQL handler runs, the ticker keeps running: it cancels a handler that hangs, and an old launcher would not
-- start the ticker again before the handler has ended.
create or replace function messenger.may_end(ends_at timestamptz)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return clock_timestamp() >= ends_at and not exists (
    select from messenger.sql_runners r where r.message_id is not null
      and messenger.is_backend_alive(r.pid, r.backend_start));
exception when lock_not_available then
  return false;
end $$;

-- Overrides settings of the role or database that a job cannot run with. They apply from the next transaction on,
-- because the current one may be read only.
create or replace function messenger.prepare_job()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- In a stricter isolation level, a row changed since the snapshot raises an error where "skip locked" must continue.
  perform set_config('default_transaction_isolation', 'read committed', false),
    set_config('default_transaction_read_only', 'off', false);
  if current_setting('transaction_timeout', true) is not null then
    perform set_config('transaction_timeout', '0', false);
  end if;
end $$;

-- A DO block is one statement. statement_timeout fires once, counted from the start of the block, and cannot be set
-- again inside. Within a sleep it can be caught, and it does not fire again before the next statement. So the job
-- sleeps through it, from two seconds before. Returns the moment of the timeout, or null once it is over.
create or replace function messenger.outlive_statement_timeout(timeout_at timestamptz)
returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if timeout_at > clock_timestamp() + interval '2 seconds' then
    return timeout_at;
  elsif timeout_at is not null then
    perform pg_sleep(extract(epoch from timeout_at - clock_timestamp()) + 0.1);
  end if;
  return null;
exception when query_canceled then
  return null;
end $$;

-- A tick begins at each full second, or immediately if the previous one took longer.
create or replace function messenger.ticker_command()
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $command$
  select $job$do $$
declare
  v_timeout_at timestamptz := statement_timestamp() + nullif(current_setting('statement_timeout')::interval, '0');
  v_ends_at timestamptz := messenger.job_ends_at(clock_timestamp());
  v_next_at timestamptz;
begin
  perform messenger.prepare_job();
  commit;
  loop
    v_timeout_at := messenger.outlive_statement_timeout(v_timeout_at);
    commit;
    v_next_at := date_trunc('second', clock_timestamp()) + interval '1 second';
    exit when not messenger.tick_or_note_error();
    commit;
    exit when messenger.may_end(v_ends_at);
    perform pg_sleep(extract(epoch from v_next_at - clock_timestamp()));
  end loop;
end $$$job$
$command$;

-- A claim is committed before its handler runs. The job sleeps only if there is no work.
create or replace function messenger.handlers_command()
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $command$
  select $job$do $$
declare
  v_timeout_at timestamptz := statement_timestamp() + nullif(current_setting('statement_timeout')::interval, '0');
  v_ends_at timestamptz := messenger.job_ends_at(clock_timestamp());
  v_message messenger.claimed;
  v_goes_on boolean;
begin
  perform messenger.prepare_job();
  commit;
  loop
    v_timeout_at := messenger.outlive_statement_timeout(v_timeout_at);
    commit;
    v_goes_on := clock_timestamp() < v_ends_at and messenger.is_ticker_enabled();
    v_message := messenger.work_off(v_message, v_goes_on, v_timeout_at);
    commit;
    continue when v_message.id is not null;
    exit when not v_goes_on;
    perform pg_sleep(1);
  end loop;
end $$$job$
$command$;

-- The job is needed while a type has an SQL handler, while a function is subscribed to an
-- event, and until all stored events are handled.
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
    or exists (select from public.messenger_messages m where m.transport_name = 'supabase' and m.queue_name = 'events'
      and m.processed_at is null);
end $$;

-- Definer: pg_cron runs a job as the role that scheduled it, which must be the owner. Unscheduling a job ends its
-- backend, so it waits until no handler runs.
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
  if v_is_wanted and (v_job.command, v_job.schedule) is distinct from (messenger.handlers_command(),
    messenger.job_schedule()) then
    perform cron.schedule('symphony-handlers', messenger.job_schedule(), messenger.handlers_command());
  elsif v_job.jobid is not null and not v_is_wanted and messenger.may_end('-infinity') then
    perform cron.unschedule(v_job.jobid);
  end if;
end $$;

comment on function messenger.job_schedule() is
  'The schedule of both jobs: every five seconds if pg_cron accepts seconds, else every minute.';
comment on function messenger.job_ends_at(timestamptz) is 'When a run that started then ends: at second 59.';
comment on function messenger.may_end(timestamptz) is 'True if ends_at has passed and no SQL handler is running.';
comment on function messenger.prepare_job() is
  'Makes the session of a job read committed and writable, overriding settings of the role or database.';
comment on function messenger.outlive_statement_timeout(timestamptz) is
  'Sleeps through the statement_timeout of a job shortly before it fires. Returns the '
  'moment of the timeout, or null once it is over.';
comment on function messenger.ticker_command() is
  'The command of the pg_cron job symphony-clock: one tick per second, each in '
  'its own transaction. It contains no secret.';
comment on function messenger.handlers_command() is
  'The command of the pg_cron job symphony-handlers: runs SQL handlers, each message in '
  'its own transaction. It contains no secret.';
comment on function messenger.needs_handlers_job() is 'True if the job symphony-handlers has or may get work.';
comment on function messenger.sync_handlers_job() is
  'Schedules the job symphony-handlers while the ticker is enabled and the '
  'job is needed, and unschedules it otherwise.';
revoke all on function
  messenger.job_schedule(),
  messenger.job_ends_at(timestamptz),
  messenger.may_end(timestamptz),
  messenger.prepare_job(),
  messenger.outlive_statement_timeout(timestamptz),
  messenger.ticker_command(),
  messenger.handlers_command(),
  messenger.needs_handlers_job(),
  messenger.sync_handlers_job()
from public, anon, authenticated, service_role;
