-- Runners of SQL handlers: the backends of the pg_cron job symphony-handlers, their claims and their timeouts.

create or replace function messenger.is_backend_alive(pid int, backend_start timestamptz)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select exists (select from pg_stat_get_activity(pid) a where a.backend_start = is_backend_alive.backend_start) $$;

create or replace function messenger.is_handlers_job_running()
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select exists (select from messenger.sql_runners r where messenger.is_backend_alive(r.pid, r.backend_start)) $$;

create or replace function messenger.note_runner()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_start timestamptz := (select a.backend_start from pg_stat_get_activity(pg_backend_pid()) a);
begin
  if not exists (select from messenger.sql_runners r where r.pid = pg_backend_pid() and r.backend_start = v_start) then
    delete from messenger.sql_runners r where r.pid = pg_backend_pid();
    insert into messenger.sql_runners (pid, backend_start) values (pg_backend_pid(), v_start);
  end if;
end $$;

create or replace function messenger.note_run(message messenger.claimed, timeout interval default null)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
  if message.id is null then
    update messenger.sql_runners r set message_id = null, message_type = null, deadline = null, cancelled_at = null
    where r.pid = pg_backend_pid() and r.message_id is not null;
  else
    update messenger.sql_runners r
    set message_id = message.id, message_type = message.message_type, deadline = clock_timestamp() + timeout,
        cancelled_at = null
    where r.pid = pg_backend_pid();
  end if;
end $$;

-- Named by its backend: no other session holds the row of this worker, so no open claim can block it.
create or replace function messenger.sql_worker()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select 'sql-' || pg_backend_pid() $$;

-- The lease lasts 30 s longer than the handler may run, so that a cancelled handler is settled and not rescued.
create or replace function messenger.claim_for_runner()
returns messenger.claimed
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_types text[];
  v_message messenger.claimed;
  v_timeout interval;
begin
  perform messenger.note_runner();
  v_types := messenger.sql_types();
  if v_types is null then
    return null;
  end if;
  select * into v_message
  from public.messenger_claim(
    messenger.sql_worker(), 1, '60 seconds', queues => messenger.sql_queues(v_types), types => v_types);
  if v_message.id is null then
    return null;
  end if;
  v_timeout := messenger.handler_timeout(v_message.message_type);
  if v_timeout <> interval '30 seconds' then
    perform public.messenger_heartbeat(
      jsonb_build_array(jsonb_build_object('id', v_message.id, 'fence', v_message.fence)),
      v_timeout + interval '30 seconds');
  end if;
  perform messenger.note_run(v_message, v_timeout);
  return v_message;
end $$;

-- One transaction of the job symphony-handlers, which the job commits: it handles the message claimed before and claims
-- the next. So each claim is committed before its handler runs, and a handler that ends its backend has been counted.
-- Never raises.
create or replace function messenger.work_off(message messenger.claimed, goes_on boolean, cut_at timestamptz)
returns messenger.claimed
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if message.id is not null then
    begin
      perform messenger.handle_message(message, cut_at);
    exception when others or query_canceled then
      -- Not settled: the lease will expire.
      perform messenger.note_step_error('symphony-handlers', sqlerrm, sqlstate, messenger.now());
      perform messenger.note_run(null);
    end;
  end if;
  if goes_on then
    -- A block of its own: the handled message stays settled if the claim fails.
    begin
      return messenger.claim_for_runner();
    exception when others or query_canceled then
      perform messenger.note_step_error('symphony-handlers', sqlerrm, sqlstate, messenger.now());
    end;
  end if;
  return null;
end $$;

-- For the ticker. The row is locked while the signal is sent, and the runner must write it before it continues with
-- another message: the signal meets this handler or none. A handler that catches the cancellation and continues is
-- ended with its backend ten seconds later.
create or replace function messenger.cancel_overdue_handlers()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runner messenger.sql_runners;
begin
  for v_runner in
    select * from messenger.sql_runners r where r.deadline < clock_timestamp() order by r.pid for update skip locked
  loop
    continue when not messenger.is_backend_alive(v_runner.pid, v_runner.backend_start);
    if v_runner.cancelled_at is null then
      update messenger.sql_runners r set cancelled_at = clock_timestamp() where r.pid = v_runner.pid;
      perform pg_cancel_backend(v_runner.pid);
    elsif v_runner.cancelled_at < clock_timestamp() - interval '10 seconds' then
      perform pg_terminate_backend(v_runner.pid);
    end if;
  end loop;
  delete from messenger.sql_runners r
  where r.pid in (
    select x.pid from messenger.sql_runners x
    where coalesce(x.deadline < clock_timestamp() - interval '30 seconds', true)
      and not messenger.is_backend_alive(x.pid, x.backend_start)
    for update skip locked);
end $$;

comment on function messenger.is_backend_alive(int, timestamptz) is
  'Whether the server process with this id is still the one that was started at that time.';
comment on function messenger.is_handlers_job_running() is 'Whether a backend of the job symphony-handlers is running.';
comment on function messenger.note_runner() is 'Records that this backend runs SQL handlers.';
comment on function messenger.note_run(messenger.claimed, interval) is
  'Records the message that this backend handles, and its deadline; null: none.';
comment on function messenger.sql_worker() is
  'The worker name under which this backend claims messages for SQL handlers.';
comment on function messenger.claim_for_runner() is
  'Claims one message for the job symphony-handlers and records the deadline of its handler; null if none is due.';
comment on function messenger.work_off(messenger.claimed, boolean, timestamptz) is
  'Handles a message that was claimed before and, if goes_on, claims the next. Returns that one, or null.';
comment on function messenger.cancel_overdue_handlers() is
  'Cancels SQL handlers that have exceeded the timeout of their type, and deletes the rows of backends that have '
  'ended.';
revoke all on function
  messenger.is_backend_alive(int, timestamptz),
  messenger.is_handlers_job_running(),
  messenger.note_runner(),
  messenger.note_run(messenger.claimed, interval),
  messenger.sql_worker(),
  messenger.claim_for_runner(),
  messenger.work_off(messenger.claimed, boolean, timestamptz),
  messenger.cancel_overdue_handlers()
from public, anon, authenticated, service_role;
