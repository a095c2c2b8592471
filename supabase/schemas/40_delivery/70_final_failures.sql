-- Finishing without completion: lost leases, dead letters, expiry, cancellation. Callers hold the row locks.

-- The caller then hands the message out alone or moves it to the dead letters.
create or replace function messenger.note_lost_leases(ids uuid[], kind text, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.attempts (message_id, fence, at, worker, error, error_class, duration_ms)
  select m.id, m.fence, at, m.locked_by,
    'the lease ran out at ' || to_char(m.lock_expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
      || ' without an outcome: the worker died, hung or was too slow',
    'LeaseExpired', (extract(epoch from m.lock_expires_at - m.locked_at) * 1000)::bigint
  from public.messenger_messages m
  where m.id = any (ids) and m.status = 'processing'
  on conflict do nothing;
  insert into messenger.measurements (at, transport_name, message_type, kind, error_class, error)
  select note_lost_leases.at, m.transport_name, m.message_type, note_lost_leases.kind, 'LeaseExpired',
    'the lease ran out without an outcome'
  from public.messenger_messages m
  where m.id = any (ids) and m.status = 'processing' and note_lost_leases.kind is not null;
end $$;

-- The last attempt becomes the error of the dead letter.
create or replace function messenger.move_to_dead_letters(ids uuid[], at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_moved bigint;
begin
  with history as (
    select a.message_id,
      jsonb_agg(jsonb_build_object(
        'at', a.at, 'worker', a.worker, 'error', a.error, 'error_class', a.error_class, 'duration_ms', a.duration_ms)
        order by a.fence)
        filter (where a.newest <= 20) as attempts,
      max(a.error) filter (where a.newest = 1) as error,
      max(a.error_class) filter (where a.newest = 1) as error_class,
      max(a.error_trace) filter (where a.newest = 1) as error_trace
    from (
      select x.*, row_number() over (partition by x.message_id order by x.fence desc) as newest
      from messenger.attempts x where x.message_id = any (move_to_dead_letters.ids)
    ) a
    group by a.message_id
  ),
  dead as (
    update public.messenger_messages m
    set status = 'failed', processed_at = move_to_dead_letters.at, updated_at = move_to_dead_letters.at,
        locked_at = null, locked_by = null, lock_expires_at = null, retry_count = m.retry_count + 1,
        last_error = h.error, error_class = h.error_class
    from history h
    where m.id = h.message_id
    returning m.*
  )
  insert into public.messenger_failed_messages
    (message_id, transport_name, queue_name, message_type, body, headers, metadata, error, error_class, error_trace,
     attempts, retry_count, max_retries, failed_at, created_at, idempotency_key, created_by)
  select d.id, d.transport_name, d.queue_name, d.message_type, d.body, d.headers, d.metadata, h.error, h.error_class,
    h.error_trace, h.attempts, d.retry_count, d.max_retries, move_to_dead_letters.at, d.created_at, d.idempotency_key,
    d.created_by
  from dead d join history h on h.message_id = d.id;
  get diagnostics v_moved = row_count;
  delete from messenger.attempts a where a.message_id = any (move_to_dead_letters.ids);
  perform messenger.emit('dead', move_to_dead_letters.ids, move_to_dead_letters.at);
  perform messenger.unblock_next(messenger.order_keys(move_to_dead_letters.ids), move_to_dead_letters.at);
  return v_moved;
end $$;

-- Expired and cancelled messages are never handed out again and have no dead letter, because nobody needs them. Neither
-- has a user's message with an invalid payload (last_error has the reason): otherwise a user could fill the dead
-- letters.
create or replace function messenger.fail_without_dead_letter(ids uuid[], error_class text, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update public.messenger_messages m
  set status = 'failed', processed_at = fail_without_dead_letter.at, updated_at = fail_without_dead_letter.at,
      locked_at = null, locked_by = null, lock_expires_at = null, error_class = fail_without_dead_letter.error_class,
      retry_count = m.retry_count + (fail_without_dead_letter.error_class = 'InvalidPayload')::int,
      last_error = case fail_without_dead_letter.error_class
        when 'Expired' then 'expired before it could be handled'
        when 'Cancelled' then 'cancelled'
        else (select a.error from messenger.attempts a where a.message_id = m.id and a.fence = m.fence) end
  where m.id = any (ids);
  perform messenger.emit('failed', ids, at);
  perform messenger.unblock_next(messenger.order_keys(ids), at);
end $$;

-- Dispositions: expired, cancelled (its worker was requested to stop and let the lease expire), exhausted.
create or replace function messenger.finish_undeliverable(ids uuid[], dispositions text[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_expired uuid[] := array(
    select x.id from unnest(ids, dispositions) as x(id, disposition) where x.disposition = 'expired');
  v_cancelled uuid[] := array(
    select x.id from unnest(ids, dispositions) as x(id, disposition) where x.disposition = 'cancelled');
  v_exhausted uuid[] := array(
    select x.id from unnest(ids, dispositions) as x(id, disposition) where x.disposition = 'exhausted');
begin
  if v_expired || v_cancelled <> '{}' then
    perform messenger.note_lost_leases(v_expired || v_cancelled, null, at);
    perform messenger.fail_without_dead_letter(v_expired, 'Expired', at);
    perform messenger.fail_without_dead_letter(v_cancelled, 'Cancelled', at);
  end if;
  -- The table of dead letters is accessed only if needed: the project may be altering it, and its lock would block
  -- every lost lease.
  if v_exhausted <> '{}' then
    perform messenger.note_lost_leases(v_exhausted, 'dead', at);
    perform messenger.move_to_dead_letters(v_exhausted, at);
  end if;
end $$;

comment on function messenger.note_lost_leases(uuid[], text, timestamptz) is
  'Records an attempt of class LeaseExpired for each of these messages that is processing, and measures it as kind: '
  'retried, dead, or null (not measured).';
comment on function messenger.move_to_dead_letters(uuid[], timestamptz) is
  'Fails messages finally: counts the last delivery and inserts a dead letter with the last 20 attempts, of which one '
  'must have been recorded. Returns the number of messages.';
comment on function messenger.fail_without_dead_letter(uuid[], text, timestamptz) is
  'Fails unfinished messages with class Expired, Cancelled or InvalidPayload, without a dead letter.';
comment on function messenger.finish_undeliverable(uuid[], text[], timestamptz) is
  'Finishes the messages whose disposition is expired, cancelled or exhausted; the others are not changed.';
revoke all on function
  messenger.finish_undeliverable(uuid[], text[], timestamptz),
  messenger.note_lost_leases(uuid[], text, timestamptz),
  messenger.move_to_dead_letters(uuid[], timestamptz),
  messenger.fail_without_dead_letter(uuid[], text, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.finish_undeliverable(uuid[], text[], timestamptz),
  messenger.note_lost_leases(uuid[], text, timestamptz),
  messenger.move_to_dead_letters(uuid[], timestamptz),
  messenger.fail_without_dead_letter(uuid[], text, timestamptz)
to service_role;
