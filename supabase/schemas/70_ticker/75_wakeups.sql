-- Wakeups: they wake workers and carry nothing. A lost one costs up to a second, until the clock wakes again.

-- Posts the call that wakes one worker. Definer: the Vault secret and pg_net are nobody else's business. pg_net's queue can be locked by any role of the
-- project, for as long as it likes: then the wake-up is given up, not waited for.
create or replace function messenger.send_wakeup()
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
declare
  v_url text := (select s.functions_url from messenger.settings s);
  v_secret record;
begin
  if v_url is null or to_regclass('net.http_request_queue') is null then
    return false;
  end if;
  v_secret := messenger.read_secret('symphony_worker_secret');
  if v_secret.secret is null then
    return false;
  end if;
  insert into messenger.wakeups (request_id) values (net.http_post(
    url := v_url || '/worker', body := '{}'::jsonb,
    headers := jsonb_build_object('content-type', 'application/json', 'authorization', 'Bearer ' || v_secret.secret),
    timeout_milliseconds := 5000));
  return true;
end $$;

-- For dispatches: a wake-up that cannot be sent must not cost the caller the message. Health tries pg_net by itself
-- (messenger.wakeup_fault).
create or replace function messenger.try_send_wakeup()
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return messenger.send_wakeup();
exception when others then
  raise log 'symphony: the wake-up could not be sent: %', sqlerrm;
  return false;
end $$;

-- Tries what send_wakeup does and takes it back before it can leave. Some other transaction's lock is no fault of
-- pg_net.
create or replace function messenger.wakeup_fault()
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
declare
  v_id bigint;
  v_is_queued boolean;
begin
  if to_regclass('net.http_request_queue') is null or current_setting('transaction_read_only') = 'on' then
    return null;
  end if;
  begin
    v_id := net.http_post(url := 'http://127.0.0.1:9/', body := '{}'::jsonb, timeout_milliseconds := 1000);
    v_is_queued := exists (select from net.http_request_queue q where q.id = v_id);
    raise exception using errcode = 'SM000';
  exception
    when sqlstate 'SM000' then
      return case when not v_is_queued then 'its queue drops what is put into it' end;
    when others then
      return case when not messenger.is_lock_error(sqlstate) then sqlerrm end;
  end;
end $$;

-- Rings unless a worker of this type is awake on this queue or another transaction is ringing for it: an ordinary dispatch updates no shared row and never waits.
-- The setting ends with the transaction, or savepoint, as the wake-up does: a transaction of a thousand dispatches wakes once.
create or replace function messenger.wake_worker(transport text, queue text, type text)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pair text := transport || '/' || queue;
  v_woken text := coalesce(current_setting('messenger.woken', true), '');
begin
  if v_pair = any (string_to_array(v_woken, ' ')) or messenger.active_workers(transport, queue, type, '0') > 0 then
    return false;
  end if;
  -- Asked apart: an IF with a query in it costs every dispatch, this one only those that would ring. Types with an SQL handler are the clock's own.
  if exists (select from messenger.queues q where q.transport_name = wake_worker.transport and q.queue_name = wake_worker.queue and q.paused_at is not null)
    or exists (select from messenger.sql_handlers() h where h.type = wake_worker.type) then
    return false;
  end if;
  -- No row yet: the wake-up is sent, as a dispatch must not wait for another one that makes the row.
  perform from messenger.wakeup_locks l where l.transport_name = wake_worker.transport and l.queue_name = wake_worker.queue for update skip locked;
  if not found then
    if exists (select from messenger.wakeup_locks l where l.transport_name = wake_worker.transport and l.queue_name = wake_worker.queue) then
      return false;
    end if;
  end if;
  perform set_config('messenger.woken', concat_ws(' ', nullif(v_woken, ''), v_pair), true);
  perform pg_notify('messenger', v_pair);
  return messenger.try_send_wakeup();
end $$;

create or replace function messenger.active_workers(transport text, queue text, type text, grace interval)
returns int
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select count(*)::int
    from messenger.workers w left join messenger.settings s on true
    -- A poll in the future was made before the clock was set back: by whom, nobody knows any more.
    where w.polled_at > messenger.now() - greatest(2 * coalesce(s.poll_interval, '50 ms'), grace) and w.polled_at <= messenger.now()
      and (w.transport_name is null or w.transport_name = transport)
      and (w.queues is null or queue = any (w.queues))
      and (w.types is null or type = any (w.types))
  );
end $$;

create or replace function messenger.make_wakeup_locks(transports text[], queues text[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.wakeup_locks (transport_name, queue_name, made_at)
  select distinct q.transport, q.queue, make_wakeup_locks.at from unnest(transports, queues) as q(transport, queue) order by 1, 2
  on conflict on constraint wakeup_locks_pkey do nothing;
end $$;

create or replace function messenger.prune_wakeup_locks(at timestamptz, chunk int)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pruned bigint;
begin
  delete from messenger.wakeup_locks l
  where l.ctid = any (array(
    select x.ctid from messenger.wakeup_locks x where x.made_at < prune_wakeup_locks.at - interval '1 day' limit chunk for update skip locked));
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

comment on function messenger.make_wakeup_locks(text[], text[], timestamptz) is 'Makes the rows by which dispatches to these queues share a wake-up.';
comment on function messenger.prune_wakeup_locks(timestamptz, int) is 'Deletes rows that are a day old. Returns how many.';
revoke all on function messenger.make_wakeup_locks(text[], text[], timestamptz), messenger.prune_wakeup_locks(timestamptz, int) from public, anon, authenticated, service_role;
comment on function messenger.send_wakeup() is
  'Queues one POST to the worker edge function with pg_net; it leaves at commit. False without a URL, pg_net or a secret that can be read.';
comment on function messenger.try_send_wakeup() is 'messenger.send_wakeup, and false where that raises.';
comment on function messenger.wakeup_fault() is
  'Why pg_net cannot be called; null where it can, or where there is none.';
comment on function messenger.wake_worker(text, text, text) is 'Wakes a worker for a message type of a queue if none is awake, by pg_net and NOTIFY messenger.';
comment on function messenger.active_workers(text, text, text, interval) is 'Workers that asked for this type from this queue within two poll intervals, or within the grace when that is longer.';
revoke all on function messenger.send_wakeup(), messenger.wakeup_fault(), messenger.try_send_wakeup(), messenger.wake_worker(text,
  text, text), messenger.active_workers(text, text, text, interval) from public, anon, authenticated, service_role;
grant execute on function messenger.wake_worker(text, text, text) to service_role;
