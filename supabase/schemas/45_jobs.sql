-- The jobs that pg_cron runs: the ticker, and the one for SQL handlers.

-- Both are DO blocks, which may commit; a procedure with a pinned search_path may not (tried).
-- A run ends at second 59 of the minute after the one it began in. pg_cron queues one run for each minute that begins, also while the job is
-- running: so a successor is queued while a run works, and starts at once when its backend is lost, not with the next minute.

-- What a role or database may have set for its sessions and a job cannot live with. It holds from the next transaction on.
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
  delete from messenger.sql_runners r where r.pid = pg_backend_pid();
end $$;

-- A DO block is one statement, and statement_timeout strikes it once, so many milliseconds after its beginning: it cannot be set anew inside. A
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
create or replace function messenger.clock_command()
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $command$
  select $job$do $$
declare
  v_strikes_at timestamptz := statement_timestamp() + nullif(current_setting('statement_timeout')::interval, '0');
  v_ends_at timestamptz := date_trunc('minute', clock_timestamp() + interval '1 minute') + interval '59 seconds';
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
    exit when clock_timestamp() >= v_ends_at;
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
  v_ends_at timestamptz := date_trunc('minute', clock_timestamp() + interval '1 minute') + interval '59 seconds';
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

-- Definer: pg_cron runs a job as the role that schedules it, and these must be the owner's.
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
  select j.jobid, j.command into v_job from cron.job j where j.jobname = 'symphony-handlers';
  v_is_wanted := (select s.clock_enabled from messenger.settings s) and messenger.needs_handlers_job();
  if v_is_wanted and v_job.command is distinct from messenger.handlers_command() then
    perform cron.schedule('symphony-handlers', '* * * * *', messenger.handlers_command());
  elsif v_job.jobid is not null and not v_is_wanted then
    perform cron.unschedule(v_job.jobid);
  end if;
end $$;

comment on function messenger.prepare_job() is 'Makes the session of a job read committed and writable, whatever the role or database says.';
comment on function messenger.outlive_statement_timeout(timestamptz) is 'Lets the statement_timeout of a job strike where it does no harm.';
comment on function messenger.clock_command() is 'The command of the pg_cron job symphony-clock: a tick per second, one transaction each. It holds no secret.';
comment on function messenger.handlers_command() is 'The command of the pg_cron job symphony-handlers: runs SQL handlers, one transaction each. It holds no secret.';
comment on function messenger.needs_handlers_job() is 'Whether anything is there that the job symphony-handlers runs.';
comment on function messenger.sync_handlers_job() is 'Schedules the job symphony-handlers while the ticker is on and the job is needed, and unschedules it otherwise.';
revoke all on function messenger.prepare_job(), messenger.outlive_statement_timeout(timestamptz), messenger.clock_command(), messenger.handlers_command(),
  messenger.needs_handlers_job(), messenger.sync_handlers_job() from public, anon, authenticated, service_role;
