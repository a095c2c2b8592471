-- Cancels a message: immediately while it is pending, by request while a worker holds its lease.
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
      update public.messenger_messages m set cancel_requested_at = v_now, updated_at = v_now where m.id = v_id
        and m.cancel_requested_at is null;
      return 'requested';
    when 'completed', 'failed' then
      return 'finished';
    else
      return 'unknown';
  end case;
end $$;

comment on function public.messenger_cancel(uuid) is
  'Cancels a message and returns one of: cancelled (the message was pending and is never handed out again); requested '
  '(a worker holds it: the worker''s next heartbeat carries the request, a completion still counts, and any other '
  'outcome or the end of the lease cancels the message); finished; unknown. A cancelled message has no dead letter. '
  'Raises SM_UNAVAILABLE if another transaction holds the row for more than 250 ms. Example: select '
  'messenger_cancel(''01890a5d-ac96-774b-bcce-b302099a8057'');';
revoke all on function public.messenger_cancel(uuid) from public, anon, authenticated;
grant execute on function public.messenger_cancel(uuid) to service_role;
