-- Claiming: a worker takes due messages under a lease with a fencing token.

-- A function with other parameters is another one.
drop function if exists messenger.claim_messages(text, int, interval, text, text[], text[]);

-- The messages are collected before the block ends: rows that were returned one by one could not be taken back if a
-- trigger fails at the end of the statement.
-- An error undoes the attempt and claim_carefully follows: it scans in chunks and, if writing the rows together fails,
-- writes each in a subtransaction of its own. A row that cannot be written is set aside, and the others are handed out.
-- The block costs 3 us. An expression costs 1 us, because plpgsql prepares it again in every transaction. The planner
-- settings are those of the callers: an exchange needs them once for both of its parts.
create or replace function messenger.claim_messages(
  worker text, batch int, lease interval, transport text, queues text[], types text[], notes_poll boolean
)
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := messenger.now();
  v_room int := coalesce(batch, 10);
  v_lease interval := coalesce(lease, '60 s');
  v_poll text := row((date_part('epoch', v_now) * 50)::bigint, worker, transport, queues, types, notes_poll)::text;
  v_queue text;
  v_visited text[] := '{}'::text[];
  v_taken record;
  v_due record;
  v_claimed messenger.claimed[];
  v_is_mixed boolean;
begin
  if (v_room between 1 and 1000 and v_lease > '0' and v_lease <= '12 hours') is not true then
    perform messenger.check_claim(worker, v_lease);
    perform messenger.raise_error('SM_BATCH');
  end if;
  if current_setting('messenger.poll', true) is distinct from v_poll then
    perform messenger.begin_poll(worker, transport, queues, types, v_now, v_poll, notes_poll);
  end if;

  begin
    <<attempts>>
    for v_attempt in 1..2 loop
      foreach v_queue in array case v_attempt when 1 then current_setting('messenger.due_queues', true)::text[]
        else messenger.known_queues(transport, queues, true, v_now, types) end
      loop
        continue when v_queue = any (v_visited);
        v_taken := messenger.take_due(
          split_part(v_queue, '/', 1), split_part(v_queue, '/', 2), v_room, types, worker, v_lease, v_now);
        if v_taken.claimed <> '{}' then
          v_is_mixed := v_claimed is not null;
          v_claimed := v_claimed || v_taken.claimed;
          v_room := v_room - cardinality(v_taken.claimed);
          exit attempts when v_room = 0;
        end if;
        v_visited := v_visited || v_queue;
        continue when v_taken.is_plain;
        v_due := messenger.find_due(
          split_part(v_queue, '/', 1), split_part(v_queue, '/', 2), v_room, types, v_now, v_claimed is null);
        if v_due.places is not null then
          v_is_mixed := v_claimed is not null;
          v_claimed := v_claimed || messenger.take(v_due.places, worker, v_lease, v_now);
          v_room := v_room - cardinality(v_due.places);
        end if;
        exit attempts when v_due.is_solo or v_room = 0;
      end loop;
    end loop;
    if v_claimed is null then
      return '{}'::messenger.claimed[];
    elsif current_setting('messenger.none_deferred_in', true) is distinct from date_part('epoch', v_now)::bigint::text
    then
      perform messenger.check_deferred(v_now);
    end if;
    return case when v_is_mixed then messenger.in_order(v_claimed) else v_claimed end;
  exception when others then
    if sqlstate <> 'SM001' and not messenger.is_row_error(sqlstate) then
      raise;
    end if;
  end;
  return messenger.claim_carefully(worker, coalesce(batch, 10), v_lease, transport, queues, types, v_now);
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
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
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
  messenger.claim_messages(text, int, interval, text, text[], text[], boolean),
  messenger.claim_carefully(text, int, interval, text, text[], text[], timestamptz),
  messenger.claim_one(uuid, text, interval),
  public.messenger_claim(text, int, interval, text, text[], text[]),
  public.messenger_claim_one(uuid, text, interval)
from public, anon, authenticated;
grant execute on function
  messenger.claim_messages(text, int, interval, text, text[], text[], boolean),
  messenger.claim_carefully(text, int, interval, text, text[], text[], timestamptz),
  messenger.claim_one(uuid, text, interval),
  public.messenger_claim(text, int, interval, text, text[], text[]),
  public.messenger_claim_one(uuid, text, interval)
to service_role;
