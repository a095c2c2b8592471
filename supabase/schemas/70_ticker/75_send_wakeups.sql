-- Wake-ups: calls through pg_net that wake workers. They carry no data. A lost wake-up delays a message until the next
-- tick: a second, or a minute for a type that no code has registered.

-- Definer: only the owner may read the secret and call pg_net. Any role of the project can lock pg_net's queue for any
-- time, so after 100 ms of waiting the wake-up is not sent.
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

-- Used by dispatches: a failing wake-up must not fail the dispatch. Health tests pg_net itself
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

-- Queues a request as send_wakeup does and rolls it back. A lock held by another transaction is not a fault of pg_net.
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
      return case when not v_is_queued then 'its queue drops requests' end;
    when others then
      return case when not messenger.is_lock_error(sqlstate) then sqlerrm end;
  end;
end $$;

-- Sends nothing if a worker of this type is active on the queue or another transaction is sending a wake-up for it. A
-- dispatch without keys updates no shared row and waits for no other dispatch. The setting messenger.woken ends with
-- the transaction or savepoint, as the wake-up does, so a transaction with a thousand dispatches sends one.
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
  -- A separate IF: a query in the first one would cost every dispatch, here only those that would
  -- send. Types with an SQL handler need no worker.
  if exists (select from messenger.queues q where q.transport_name = wake_worker.transport
    and q.queue_name = wake_worker.queue and q.paused_at is not null)
    or exists (select from messenger.sql_handlers() h where h.type = wake_worker.type) then
    return false;
  end if;
  -- Without a row the wake-up is sent, because a dispatch must not wait for another one that inserts the row.
  perform from messenger.wakeup_locks l where l.transport_name = wake_worker.transport
    and l.queue_name = wake_worker.queue for update skip locked;
  if not found then
    if exists (select from messenger.wakeup_locks l where l.transport_name = wake_worker.transport
      and l.queue_name = wake_worker.queue) then
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
    -- A poll in the future was recorded before the database clock was set back; the worker may no longer exist.
    where (w.polled_at > messenger.now() - greatest(2 * coalesce(s.poll_interval, '50 ms'), grace)
        or w.active_until > messenger.now())
      and w.polled_at <= messenger.now()
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
  select distinct q.transport, q.queue, make_wakeup_locks.at from unnest(transports, queues) as q(transport, queue)
  order by 1, 2
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
    select x.ctid from messenger.wakeup_locks x where x.made_at < prune_wakeup_locks.at - interval '1 day' limit chunk
    for update skip locked));
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

comment on function messenger.make_wakeup_locks(text[], text[], timestamptz) is
  'Inserts the rows through which dispatches to these queues share a wake-up.';
comment on function messenger.prune_wakeup_locks(timestamptz, int) is
  'Deletes at most chunk rows that are a day old. Returns their number.';
revoke all on function
  messenger.make_wakeup_locks(text[], text[], timestamptz),
  messenger.prune_wakeup_locks(timestamptz, int)
from public, anon, authenticated, service_role;
comment on function messenger.send_wakeup() is
  'Queues one POST to the worker edge function with pg_net, sent at commit. Returns false without a '
  'functions URL, pg_net or a readable secret.';
comment on function messenger.try_send_wakeup() is 'messenger.send_wakeup, but false if that raises.';
comment on function messenger.wakeup_fault() is
  'Why pg_net cannot be called; null if it can, or if it is not installed.';
comment on function messenger.wake_worker(text, text, text) is
  'Wakes a worker for a message type of a queue by pg_net and NOTIFY messenger, if none is '
  'active. Returns whether a wake-up was sent.';
comment on function messenger.active_workers(text, text, text, interval) is
  'The number of workers that polled this queue for this type within two poll intervals, or '
  'within the grace period if that is longer, or that wait for its messages.';
revoke all on function
  messenger.send_wakeup(),
  messenger.wakeup_fault(),
  messenger.try_send_wakeup(),
  messenger.wake_worker(text, text, text),
  messenger.active_workers(text, text, text, interval)
from public, anon, authenticated, service_role;
grant execute on function messenger.wake_worker(text, text, text) to service_role;
