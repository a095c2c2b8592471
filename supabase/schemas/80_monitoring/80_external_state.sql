-- The state of wake-ups in pg_net, of the worker secret in Vault and of the ticker in pg_cron, for health and explain.

-- Moments are the server's, as in pg_net, not those of messenger.now().
create or replace function messenger.wakeup_responses(since interval)
returns table (request_id bigint, sent_at timestamptz, answered_at timestamptz, status_code int, error text,
  has_failed boolean, is_queued boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_column
begin
  if to_regclass('net._http_response') is null or to_regclass('net.http_request_queue') is null then
    return query select b.request_id, b.at, null::timestamptz, null::int, null::text, false, false
      from messenger.wakeups b where b.at > pg_catalog.now() - since;
    return;
  end if;
  -- Neither of pg_net's tables has an index on the id. A queue of more than 10000
  -- requests is stuck, so its first rows suffice.
  return query
  select b.request_id, b.at, r.created, r.status_code,
    case when r.timed_out then coalesce(r.error_msg, 'timed out') else r.error_msg end,
    coalesce(r.timed_out, false) or r.error_msg is not null or coalesce(r.status_code >= 400, false), q.id is not null
  from messenger.wakeups b
  left join net._http_response r on r.id = b.request_id and r.created >= pg_catalog.now() - since
  left join (select x.id from net.http_request_queue x limit 10000) q on q.id = b.request_id
  where b.at > pg_catalog.now() - since
  order by b.request_id desc;
end $$;

create or replace function messenger.has_worker_secret()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select r.secret is not null from messenger.read_secret('symphony_worker_secret') r);
end $$;

create or replace function messenger.call_worker()
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('curl -i -X POST ''%s/worker?wait=1'' -H "apikey: $SUPABASE_SECRET_KEY"',
    replace(s.functions_url, '''', '''\'''''))
  from messenger.settings s where s.functions_url is not null
$$;

-- Faults are tested in the order of the requirements, the most basic first.
create or replace function messenger.ticker_fault(out cause text, out remedy text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_enabled boolean := coalesce((select s.clock_enabled from messenger.settings s), false);
  v_error text := (select c.last_error from messenger.clock c
    where c.last_error_at > greatest(c.last_tick_at, messenger.now() - interval '10 seconds'));
  v_job record;
  v_run record;
begin
  if v_error is not null then
    cause := 'each tick fails: ' || left(v_error, 500);
    remedy := 'select messenger_tick()';
    return;
  elsif to_regclass('cron.job') is null then
    cause := 'there is no pg_cron, and no external scheduler calls the scheduler edge function';
    remedy := 'create extension pg_cron; select messenger_start()';
    return;
  end if;
  select j.jobid, j.active into v_job from cron.job j where j.jobname = 'symphony-clock';
  if v_job.jobid is null or not v_enabled then
    cause := case when v_enabled then 'pg_cron has no job symphony-clock' else 'the ticker was not started' end;
    remedy := 'select messenger_start()';
    return;
  elsif not v_job.active then
    cause := 'the job symphony-clock is inactive';
    remedy := format('select cron.alter_job(%s, active => true)', v_job.jobid);
    return;
  end if;
  -- pg_cron never prunes its history, and only the run id is indexed.
  select d.status, d.return_message, a.pid into v_run
  from (select * from cron.job_run_details x order by x.runid desc limit 1000) d
  left join pg_catalog.pg_stat_activity a on a.pid = d.job_pid and d.status in ('starting', 'running')
    and a.query like '%tick_or_note_error%'
  where d.jobid = v_job.jobid
  order by d.runid desc limit 1;
  if v_run.pid is not null then
    cause := format('the job symphony-clock runs in process %s, and its tick does not end', v_run.pid);
    remedy := format('select pg_cancel_backend(%s)', v_run.pid);
  elsif (select f.cause from messenger.ticker_setting_fault() f) is not null then
    select f.* into cause, remedy from messenger.ticker_setting_fault() f;
  elsif v_run.status = 'failed' then
    cause := 'the last run of the job symphony-clock failed: '
      || left(coalesce(v_run.return_message, 'without a message'), 500);
    remedy := format('select start_time, status, return_message from cron.job_run_details where jobid = %s order by '
      'runid desc limit 5', v_job.jobid);
  elsif v_run.status is null then
    cause := 'pg_cron starts the job symphony-clock within a minute, unless its launcher has stopped';
    remedy := 'select messenger_tick(); -- once; if there is no tick within the next minute, restart the database';
  else
    cause := 'pg_cron no longer runs the job symphony-clock: its launcher has stopped until the database is restarted';
    remedy := 'select messenger_tick(); -- once, and restart the database';
  end if;
end $$;

-- An open transaction that has ticked holds the row of messenger.clock; other ticks are recorded in messenger.ticks.
create or replace function messenger.last_tick_at(at timestamptz)
returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select greatest(
    (select c.last_tick_at from messenger.clock c),
    (select max(t.at) from messenger.ticks t where t.at <= last_tick_at.at))
$$;

create or replace function messenger.is_ticker_scheduled()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass('cron.job') is null then
    return false;
  end if;
  return exists (select from cron.job j where j.jobname = 'symphony-clock' and j.active);
end $$;

-- Stopped by messenger_stop without a later tick, or no tick for 70 seconds. After
-- messenger_stop a running job ends within a second.
create or replace function messenger.is_ticker_stopped(at timestamptz)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(tick.last_at <= is_ticker_stopped.at - interval '70 seconds', true)
    or coalesce(not s.clock_enabled and tick.last_at < s.clock_changed_at + interval '3 seconds'
      and is_ticker_stopped.at >= s.clock_changed_at + interval '3 seconds', false)
  from messenger.last_tick_at(is_ticker_stopped.at) as tick(last_at) left join messenger.settings s on true
$$;

comment on function messenger.last_tick_at(timestamptz) is 'The moment of the last tick; null if there was none.';
comment on function messenger.is_ticker_scheduled() is 'True if pg_cron has the job symphony-clock and it is active.';
comment on function messenger.is_ticker_stopped(timestamptz) is
  'True if the ticker was stopped, or has not run for 70 seconds.';
comment on function messenger.wakeup_responses(interval) is
  'Wake-ups sent within since, newest first, with pg_net''s response: status_code or error. is_queued: not sent yet.';
comment on function messenger.has_worker_secret() is 'True if the worker secret is in Vault and can be read.';
comment on function messenger.call_worker() is
  'A shell command that runs a worker and prints its response; null without a functions URL.';
comment on function messenger.ticker_fault() is
  'Why the ticker does not run, assuming that it does not, and the remedy.';
revoke all on function
  messenger.wakeup_responses(interval),
  messenger.has_worker_secret(),
  messenger.call_worker(),
  messenger.last_tick_at(timestamptz),
  messenger.is_ticker_scheduled(),
  messenger.ticker_fault(),
  messenger.is_ticker_stopped(timestamptz)
from public, anon, authenticated, service_role;
