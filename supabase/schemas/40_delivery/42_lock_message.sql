-- Locking of one message for a call that cannot skip it, with a limit on the wait for other transactions.

-- Attempted every 10 ms: under lock_timeout a row can be waited for twice, in the queue of waiting transactions and
-- then for the row lock. The limit is 250 ms (setting messenger.lock_wait).
create or replace function messenger.lock_message(message_id uuid)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_end timestamptz := clock_timestamp()
    + coalesce(nullif(current_setting('messenger.lock_wait', true), ''), '250 milliseconds')::interval;
begin
  loop
    perform from public.messenger_messages m where m.id = message_id for no key update skip locked;
    exit when found;
    if not exists (select from public.messenger_messages m where m.id = message_id) then
      return false;
    elsif clock_timestamp() > v_end then
      perform messenger.raise_error('SM_UNAVAILABLE',
        format('message %s is locked by another transaction', message_id));
    end if;
    perform pg_sleep(0.01);
  end loop;
  return true;
end $$;

comment on function messenger.lock_message(uuid) is
  'Locks the row of a message until the transaction ends. Returns false if it does not exist; raises SM_UNAVAILABLE if '
  'another transaction holds it longer than 250 ms.';
revoke all on function messenger.lock_message(uuid) from public, anon, authenticated;
grant execute on function messenger.lock_message(uuid) to service_role;
