-- Taking: the statement that gives messages, which a scan has found and locked, to a worker.

-- Rows are addressed by ctid, which cannot change while the scan's lock is held.
create or replace function messenger.take(ctids tid[], worker text, lease interval, at timestamptz)
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_claimed messenger.claimed[];
begin
  with taken as (
    update public.messenger_messages m
    set status = 'processing', fence = m.fence + 1, locked_at = take.at, locked_by = take.worker,
        lock_expires_at = take.at + take.lease, updated_at = take.at,
        retry_count = m.retry_count + (m.status = 'processing')::int,
        lease_losses = m.lease_losses + (m.status = 'processing')::int
    where m.ctid = any (ctids)
    returning m.id, m.message_type, m.queue_name, m.body, m.headers, m.metadata, m.priority, m.retry_count,
      m.max_retries, m.fence, m.lock_expires_at, m.created_at, m.lease_losses > 0 as solo, m.available_at
  )
  select array_agg(
    row(t.id, t.message_type, t.queue_name, t.body, t.headers, t.metadata, t.priority, t.retry_count, t.max_retries,
      t.fence, t.lock_expires_at, t.created_at, t.solo)::messenger.claimed
    order by t.priority desc, t.available_at, t.id)
  into v_claimed
  from taken t;
  perform messenger.check_deferred(at);
  return v_claimed;
end $$;

-- Of several queues: each was taken in its own order.
create or replace function messenger.in_order(claimed messenger.claimed[])
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select array_agg(c order by m.priority desc, m.available_at, m.id)
    from unnest(claimed) c join public.messenger_messages m on m.id = c.id);
end $$;

create or replace function messenger.take_singly(ctids tid[], worker text, lease interval, at timestamptz)
returns messenger.claimed[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ctid tid;
  v_claimed messenger.claimed[];
begin
  foreach v_ctid in array ctids loop
    begin
      v_claimed := v_claimed || messenger.take(array[v_ctid], worker, lease, at);
    exception when others then
      if not messenger.is_row_error(sqlstate) then
        raise;
      end if;
      perform messenger.set_message_aside(m.id, sqlerrm, sqlstate, at) from public.messenger_messages m
      where m.ctid = v_ctid;
    end;
  end loop;
  return v_claimed;
end $$;

comment on function messenger.take(tid[], text, interval, timestamptz) is
  'Gives the messages with these ctids, which the caller has locked, to a worker. Null if there are none.';
comment on function messenger.in_order(messenger.claimed[]) is
  'The claimed messages by priority, availability and id.';
comment on function messenger.take_singly(tid[], text, interval, timestamptz) is
  'As messenger.take, one message at a time; messages that cannot be written are set aside.';
revoke all on function
  messenger.take(tid[], text, interval, timestamptz),
  messenger.in_order(messenger.claimed[]),
  messenger.take_singly(tid[], text, interval, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.take(tid[], text, interval, timestamptz),
  messenger.in_order(messenger.claimed[]),
  messenger.take_singly(tid[], text, interval, timestamptz)
to service_role;
