-- Cancelling: at once while a message waits, by request while a worker has it.
create or replace function public.messenger_cancel(id uuid)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid := id;
  v_now timestamptz := messenger.now();
  v_status text;
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  perform messenger.lock_message(v_id);
  select m.status into v_status from public.messenger_messages m where m.id = v_id;
  case v_status
    when 'pending' then
      perform messenger.fail_without_dead_letter(array[v_id], 'Cancelled', v_now);
      return 'cancelled';
    when 'processing' then
      update public.messenger_messages m set cancel_requested_at = v_now, updated_at = v_now where m.id = v_id and m.cancel_requested_at is null;
      return 'requested';
    when 'completed', 'failed' then
      return 'finished';
    else
      return 'unknown';
  end case;
end $$;

comment on function public.messenger_cancel(uuid) is
  'Cancels a message: cancelled (it was waiting and will never be handed out), requested (a worker has it and hears with its next heartbeat; a completion still counts, any other outcome or the end of the lease makes it Cancelled), finished, unknown. A cancelled message has no dead letter. SM_UNAVAILABLE when another transaction keeps the row locked for longer than 250 ms.';
revoke all on function public.messenger_cancel(uuid) from public, anon, authenticated;
grant execute on function public.messenger_cancel(uuid) to service_role;
