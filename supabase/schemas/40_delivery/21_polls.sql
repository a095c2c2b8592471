-- Polls: the arguments of a claim, the row by which a worker counts as active, and what a session caches of both.

-- A function with other parameters is another one.
drop function if exists
  messenger.note_poll(text, text, text[], text[], timestamptz),
  messenger.add_worker(text, text, text[], text[], timestamptz);

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

-- What a session does once in 20 ms for one worker and selection: it checks the arguments, records the poll and looks
-- for due queues, which it caches in messenger.due_queues.
create or replace function messenger.begin_poll(
  worker text, transport text, queues text[], types text[], at timestamptz, poll text, notes_poll boolean
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  perform messenger.check_claim(worker, null, queues);
  if transport is not null then
    if not exists (select from public.messenger_transports t where t.name = begin_poll.transport) then
      perform messenger.raise_error('SM_TRANSPORT', quote_ident(left(transport, 100)));
    end if;
  end if;
  if notes_poll then
    perform messenger.note_poll(worker, transport, queues, types, at);
  end if;
  if not exists (select from messenger.delivery_settings) then
    perform messenger.derive_delivery_settings();
  end if;
  perform set_config('messenger.due_queues', messenger.known_queues(transport, queues, false, at, types)::text, false),
    set_config('messenger.poll', poll, false);
end $$;

comment on function messenger.check_claim(text, interval, text[]) is
  'Raises SM_WORKER, SM_QUEUE or SM_LEASE for a worker name or queue name that is malformed, and for a lease that is '
  'out of range.';
comment on function messenger.note_poll(text, text, text[], text[], timestamptz, interval) is
  'Records the poll of a worker, which makes it active, and the wait that it announces.';
comment on function messenger.add_worker(text, text, text[], text[], timestamptz, timestamptz) is
  'Inserts the row of a worker at its first poll, unless another session is inserting it.';
comment on function messenger.begin_poll(text, text, text[], text[], timestamptz, text, boolean) is
  'Checks the arguments of a claim, records the poll of its worker if notes_poll is true, and caches its due queues in '
  'the session. poll is the key of the cache. Errors: SM_WORKER, SM_QUEUE, SM_TRANSPORT.';
revoke all on function
  messenger.check_claim(text, interval, text[]),
  messenger.note_poll(text, text, text[], text[], timestamptz, interval),
  messenger.add_worker(text, text, text[], text[], timestamptz, timestamptz),
  messenger.begin_poll(text, text, text[], text[], timestamptz, text, boolean)
from public, anon, authenticated;
grant execute on function
  messenger.check_claim(text, interval, text[]),
  messenger.note_poll(text, text, text[], text[], timestamptz, interval),
  messenger.add_worker(text, text, text[], text[], timestamptz, timestamptz),
  messenger.begin_poll(text, text, text[], text[], timestamptz, text, boolean)
to service_role;
