-- Claiming: a worker takes due messages under a lease with a fencing token.

-- A function with other parameters is another one.
drop function if exists
  messenger.note_poll(text, text, text[], text[], timestamptz),
  messenger.add_worker(text, text, text[], text[], timestamptz),
  messenger.claim_messages(text, int, interval, text, text[], text[]);

-- An array of valid queue names prints without quotes, except for the name null.
create or replace function messenger.check_claim(worker text, lease interval, queues text[] default null)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if worker is null or length(worker) not between 1 and 200 or worker ~ '[\x01-\x1f\x7f]' then
    perform messenger.raise_error('SM_WORKER');
  elsif queues::text !~ '^\{(([a-z0-9][a-z0-9_-]{0,62}|"null")(,([a-z0-9][a-z0-9_-]{0,62}|"null"))*)?\}$' then
    perform messenger.raise_error('SM_QUEUE', (
      select format('queues: "%s"', left(q.name, 100)) from unnest(queues) q(name)
      where q.name !~ '^[a-z0-9][a-z0-9_-]{0,62}$' or q.name is null limit 1));
  elsif lease <= '0' or lease > '12 hours' then
    perform messenger.raise_error('SM_LEASE');
  end if;
end $$;

-- A worker is active while it polls. A session stores its poll at most every 20 ms, and a session skips the row that it
-- has just written. Two sessions may use one name: a row that the other has locked is skipped, and the first poll of a
-- name gives up after 10 ms if another session is inserting the same name.
-- A worker that stops during an announced wait counts as active until the end of it and 250 ms more.
-- wait is last, with a default: a claim of 0.1.0 that waits while the upgrade commits calls the function without it.
create or replace function messenger.note_poll(
  worker text, transport text, queues text[], types text[], at timestamptz, wait interval default '0'
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_poll text := concat_ws('|', worker, transport, queues::text, types::text, nullif(wait, '0'));
  v_active_until timestamptz := case when wait > '0' then at + wait + interval '250 milliseconds' end;
  v_now numeric := extract(epoch from at);
  v_noted text := current_setting('messenger.poll_noted', true);
begin
  if split_part(v_noted, '|', 2) = md5(v_poll)
    and v_now between split_part(v_noted, '|', 1)::numeric and split_part(v_noted, '|', 1)::numeric + 0.02 then
    return;
  end if;
  update messenger.workers w
  set polled_at = note_poll.at, active_until = v_active_until, transport_name = note_poll.transport,
      queues = note_poll.queues, types = note_poll.types
  where w.ctid = any (array(
    select x.ctid from messenger.workers x where x.worker = note_poll.worker for no key update skip locked));
  if not found then
    if not exists (select from messenger.workers w where w.worker = note_poll.worker) then
      perform messenger.add_worker(worker, transport, queues, types, at, v_active_until);
    end if;
  end if;
  perform set_config('messenger.poll_noted', v_now || '|' || md5(v_poll), false);
end $$;

create or replace function messenger.add_worker(
  worker text, transport text, queues text[], types text[], at timestamptz, active_until timestamptz
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '10ms'
as $$
begin
  insert into messenger.workers (worker, transport_name, queues, types, started_at, polled_at, active_until)
  values (add_worker.worker, add_worker.transport, add_worker.queues, add_worker.types, add_worker.at, add_worker.at,
    add_worker.active_until)
  on conflict on constraint workers_pkey do nothing;
exception when lock_not_available then
  null;
end $$;

-- The messages are collected before the block ends: rows that were returned one by one could not be taken back if a
-- trigger fails at the end of the statement.
-- An error undoes the attempt and claim_carefully follows: it scans in chunks and, if writing the rows together fails,
-- writes each in a subtransaction of its own. A row that cannot be written is set aside, and the others are handed out.
-- The block costs 3 us.
create or replace function messenger.claim_messages(
  worker text, batch int, lease interval, transport text, queues text[], types text[], notes_poll boolean
)
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := messenger.now();
  v_batch int := coalesce(batch, 10);
  v_lease interval := coalesce(lease, '60 s');
  v_queue text;
  v_visited text[] := '{}'::text[];
  v_due record;
  v_ctids tid[] := '{}'::tid[];
  v_claimed messenger.claimed[];
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  perform messenger.check_claim(worker, v_lease, queues);
  if v_batch not between 1 and 1000 then
    perform messenger.raise_error('SM_BATCH');
  elsif transport is not null then
    if not exists (select from public.messenger_transports t where t.name = claim_messages.transport) then
      perform messenger.raise_error('SM_TRANSPORT', quote_ident(left(transport, 100)));
    end if;
  end if;
  if notes_poll then
    perform messenger.note_poll(worker, transport, queues, types, v_now);
  end if;

  begin
    <<attempts>>
    for v_attempt in 1..2 loop
      foreach v_queue in array messenger.known_queues(transport, queues, v_attempt = 2, v_now, types) loop
        continue when v_queue = any (v_visited);
        v_visited := v_visited || v_queue;
        v_due := messenger.find_due(
          split_part(v_queue, '/', 1), split_part(v_queue, '/', 2), v_batch - cardinality(v_ctids), types, v_now,
          v_ctids = '{}');
        v_ctids := v_ctids || v_due.places;
        exit attempts when v_due.is_solo or cardinality(v_ctids) = v_batch;
      end loop;
    end loop;
    if v_ctids <> '{}' then
      v_claimed := messenger.take(v_ctids, worker, v_lease, v_now);
    end if;
    return coalesce(v_claimed, '{}');
  exception when others then
    if sqlstate <> 'SM001' and not messenger.is_row_error(sqlstate) then
      raise;
    end if;
  end;
  return messenger.claim_carefully(worker, v_batch, v_lease, transport, queues, types, v_now);
end $$;

-- Queues are visited in random order, for at most 100 ms (setting messenger.claim_budget).
create or replace function messenger.claim_carefully(
  worker text, batch int, lease interval, transport text, queues text[], types text[], at timestamptz
)
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_end timestamptz := clock_timestamp()
    + coalesce(nullif(current_setting('messenger.claim_budget', true), ''), '100 milliseconds')::interval;
  v_queue text;
  v_due record;
  v_claimed messenger.claimed[] := '{}'::messenger.claimed[];
  v_has_failed boolean;
begin
  <<queues>>
  foreach v_queue in array messenger.known_queues(transport, queues, true, at, types) loop
    loop
      v_due := messenger.find_due(
        split_part(v_queue, '/', 1), split_part(v_queue, '/', 2), batch - cardinality(v_claimed), types, at,
        v_claimed = '{}', true);
      exit when v_due.places is null;
      v_has_failed := false;
      begin
        v_claimed := v_claimed || messenger.take(v_due.places, worker, lease, at);
      exception when others then
        if not messenger.is_row_error(sqlstate) then
          raise;
        end if;
        v_has_failed := true;
      end;
      if v_has_failed then
        v_claimed := v_claimed || messenger.take_singly(v_due.places, worker, lease, at);
      end if;
      exit queues when v_due.is_solo and v_claimed <> '{}' or cardinality(v_claimed) = batch
        or clock_timestamp() > v_end;
      exit when not v_has_failed;
    end loop;
  end loop queues;
  return v_claimed;
end $$;

create or replace function public.messenger_claim(
  worker text, batch int default 10, lease interval default '60 s', transport text default null,
  queues text[] default null, types text[] default null
)
returns table (
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int,
  max_retries int, fence bigint, lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return query select * from unnest(messenger.claim_messages(worker, batch, lease, transport, queues, types, true));
end $$;

-- For the sync transport, which handles a message where it is dispatched: takes this message, due or not, if no worker
-- has it.
create or replace function messenger.claim_one(message_id uuid, worker text, lease interval)
returns table (
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int,
  max_retries int, fence bigint, lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_worker text := worker;
  v_lease interval := coalesce(lease, '60 s');
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  perform messenger.check_claim(worker, v_lease);
  return query
  update public.messenger_messages m
  set status = 'processing', fence = m.fence + 1, locked_at = v_now, locked_by = v_worker,
      lock_expires_at = v_now + v_lease, updated_at = v_now
  where m.ctid = any (array(
    select x.ctid from public.messenger_messages x
    where x.id = message_id and x.status = 'pending' and x.available_at < 'infinity'
      and (x.expires_at is null or x.expires_at > v_now)
    for no key update skip locked))
  returning m.id, m.message_type, m.queue_name, m.body, m.headers, m.metadata, m.priority, m.retry_count, m.max_retries,
    m.fence, m.lock_expires_at, m.created_at, m.lease_losses > 0;
end $$;

create or replace function public.messenger_claim_one(id uuid, worker text, lease interval default '60 s')
returns table (
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int,
  max_retries int, fence bigint, lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language sql
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.claim_one(id, worker, lease) $$;

comment on function messenger.check_claim(text, interval, text[]) is
  'Raises SM_WORKER, SM_QUEUE or SM_LEASE for a worker name or queue name that is malformed, and for a lease that is '
  'out of range.';
comment on function messenger.note_poll(text, text, text[], text[], timestamptz, interval) is
  'Records the poll of a worker, which makes it active, and the wait that it announces.';
comment on function messenger.add_worker(text, text, text[], text[], timestamptz, timestamptz) is
  'Inserts the row of a worker at its first poll, unless another session is inserting it.';
comment on function messenger.claim_messages(text, int, interval, text, text[], text[], boolean) is
  'Implements messenger_claim and returns its rows as an array. notes_poll: records the poll of the worker.';
comment on function messenger.claim_carefully(text, int, interval, text, text[], text[], timestamptz) is
  'A claim that skips any number of messages it cannot take, and rows that cannot be written.';
comment on function public.messenger_claim(text, int, interval, text, text[], text[]) is
  'Takes up to batch (1 to 1000, default: 10) due messages for a worker under a lease (default: 60 s, at most 12 '
  'hours). '
  'Example: select * from messenger_claim(''worker-1'', batch => 10, queues => ''{mail}''). '
  'Null transport, queues or types mean all. Every outcome must carry the fence of its row. solo: the only row of its '
  'claim, to be run with no other message in flight. '
  'Waits for no lock: messages whose rows others have locked are left for the next claim. Errors: SM_WORKER, SM_BATCH, '
  'SM_LEASE, SM_QUEUE, SM_TRANSPORT.';
comment on function messenger.claim_one(uuid, text, interval) is 'Implements public.messenger_claim_one.';
comment on function public.messenger_claim_one(uuid, text, interval) is
  'Takes one pending message by id, due or not, for the caller that has just dispatched it. Returns no row if another '
  'worker has it, its row is locked or it has finished. Errors: SM_WORKER, SM_LEASE.';
revoke all on function
  messenger.check_claim(text, interval, text[]),
  messenger.note_poll(text, text, text[], text[], timestamptz, interval),
  messenger.add_worker(text, text, text[], text[], timestamptz, timestamptz),
  messenger.claim_messages(text, int, interval, text, text[], text[], boolean),
  messenger.claim_carefully(text, int, interval, text, text[], text[], timestamptz),
  messenger.claim_one(uuid, text, interval),
  public.messenger_claim(text, int, interval, text, text[], text[]),
  public.messenger_claim_one(uuid, text, interval)
from public, anon, authenticated;
grant execute on function
  messenger.check_claim(text, interval, text[]),
  messenger.note_poll(text, text, text[], text[], timestamptz, interval),
  messenger.add_worker(text, text, text[], text[], timestamptz, timestamptz),
  messenger.claim_messages(text, int, interval, text, text[], text[], boolean),
  messenger.claim_carefully(text, int, interval, text, text[], text[], timestamptz),
  messenger.claim_one(uuid, text, interval),
  public.messenger_claim(text, int, interval, text, text[], text[]),
  public.messenger_claim_one(uuid, text, interval)
to service_role;
