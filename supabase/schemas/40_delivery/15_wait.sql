-- Waiting: a claim that finds nothing waits for messages inside the database.

-- Dispatches must see a waiting worker as active, or each would send a wake-up. Therefore a call announces the wait in
-- the worker's row and returns, and the next call waits; by then the row is committed. A waiting call writes no row
-- until it has claimed something.
-- A transaction that has written must not wait: its locks, outcomes and finished messages would wait with it. With a
-- snapshot of the whole transaction it would see no new message. A statement_timeout must not end the wait: the worker
-- would take that for an unavailable database.
-- A claim that fills its batch announces nothing: its worker may have no room for more, and a dispatch must then wake
-- another one.
create or replace function messenger.claim_or_wait(
  worker text, batch int, lease interval, transport text, queues text[], types text[], wait interval, may_wait boolean
)
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  -- In seconds: 1 month -30 days is one day or two, depending on the date.
  v_wait interval := make_interval(secs => extract(epoch from wait));
  v_has_waited boolean := false;
  v_claimed messenger.claimed[];
begin
  if v_wait not between '0' and '1 second' then
    perform messenger.raise_error('SM_SETTING', format('wait: "%s"', wait),
      'the largest value allowed is ''1 second'': to wait longer, repeat the call',
      'the wait must be an interval from zero to 1 second');
  end if;
  v_claimed := messenger.claim_messages(worker, batch, lease, transport, queues, types, false);
  if may_wait and v_claimed = '{}' and pg_current_xact_id_if_assigned() is null
    and current_setting('transaction_isolation') in ('read committed', 'read uncommitted')
    and current_setting('statement_timeout')::interval not between '1 ms' and v_wait + '1 second'
    and messenger.has_announced(worker, transport, queues, types, messenger.now() + v_wait) then
    if messenger.take_poll_slot() then
      v_claimed := messenger.wait_for_messages(worker, batch, lease, transport, queues, types, v_wait);
      v_has_waited := true;
    end if;
  end if;
  if not v_has_waited or v_claimed <> '{}' then
    perform messenger.note_poll(worker, transport, queues, types, messenger.now(),
      case when cardinality(v_claimed) < coalesce(batch, 10) then v_wait else '0' end);
  end if;
  return v_claimed;
end $$;

create or replace function messenger.has_announced(
  worker text, transport text, queues text[], types text[], until timestamptz
)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from messenger.workers w
    where w.worker = has_announced.worker and w.active_until >= has_announced.until
      and (w.transport_name, w.queues, w.types)
        is not distinct from (has_announced.transport, has_announced.queues, has_announced.types));
end $$;

-- The table is empty after the installation and after a crash. The poll that finds it empty inserts the rows and does
-- not wait.
create or replace function messenger.take_poll_slot()
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '10ms'
as $$
begin
  perform from messenger.poll_slots s limit 1 for update skip locked;
  if found then
    return true;
  elsif not exists (select from messenger.poll_slots) then
    insert into messenger.poll_slots (slot) values (1), (2) on conflict on constraint poll_slots_pkey do nothing;
  end if;
  return false;
exception when lock_not_available then
  return false;
end $$;

-- A claim takes 0.2 to 0.9 ms. While the snapshot stays the same, no transaction that writes has ended, and only time
-- can have made a message due: then every tenth look claims. Per second of an idle wait that is 40 ms of CPU, of which
-- the sleeps take 22; with a claim at every look it would be 100.
-- The number of looks bounds the wait too, because the clock may be set back meanwhile.
create or replace function messenger.wait_for_messages(
  worker text, batch int, lease interval, transport text, queues text[], types text[], wait interval
)
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_end timestamptz := clock_timestamp() + wait;
  v_looks int := ceil(extract(epoch from wait) / 0.005);
  v_is_last boolean;
  v_seen text := '';
  v_snapshot text;
  v_claimed messenger.claimed[];
begin
  for v_look in 1..v_looks loop
    perform pg_sleep(0.005);
    v_is_last := v_look = v_looks or clock_timestamp() >= v_end;
    v_snapshot := pg_current_snapshot();
    if v_snapshot <> v_seen or v_look % 10 = 0 or v_is_last then
      v_seen := v_snapshot;
      v_claimed := messenger.claim_messages(worker, batch, lease, transport, queues, types, false);
      exit when v_claimed <> '{}' or v_is_last;
    end if;
  end loop;
  return v_claimed;
end $$;

comment on function messenger.claim_or_wait(text, int, interval, text, text[], text[], interval, boolean) is
  'messenger.claim_messages, which waits if it finds nothing, may_wait is true, the worker has announced it and one of '
  'two slots is free; otherwise it announces the wait for the next call. Raises SM_SETTING for a wait above 1 s.';
comment on function messenger.has_announced(text, text, text[], text[], timestamptz) is
  'True if the worker counts as active for these queues and types until this time.';
comment on function messenger.take_poll_slot() is
  'Locks a row of messenger.poll_slots until the end of the transaction; false if none is free.';
comment on function messenger.wait_for_messages(text, int, interval, text, text[], text[], interval) is
  'Claims until it gets messages or the wait has ended: every 5 ms if another transaction has ended, else every 50 '
  'ms.';
revoke all on function
  messenger.claim_or_wait(text, int, interval, text, text[], text[], interval, boolean),
  messenger.has_announced(text, text, text[], text[], timestamptz),
  messenger.take_poll_slot(),
  messenger.wait_for_messages(text, int, interval, text, text[], text[], interval)
from public, anon, authenticated;
grant execute on function
  messenger.claim_or_wait(text, int, interval, text, text[], text[], interval, boolean),
  messenger.has_announced(text, text, text[], text[], timestamptz),
  messenger.take_poll_slot(),
  messenger.wait_for_messages(text, int, interval, text, text[], text[], interval)
to service_role;
