-- A business function and the completion of a message in one transaction: the effect happens once, however often the
-- message is delivered.

-- The row is locked before the function runs, so a second delivery never runs it at the same time: it finds the message
-- completed, its lease lost, or the row still locked.
create or replace function public.messenger_complete_with(
  id uuid, fence bigint, function_name text, args jsonb default '{}'
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid := id;
  v_fence bigint := fence;
  v_function regprocedure;
  v_result jsonb;
  v_outcome text;
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  perform messenger.lock_message(v_id);
  if not exists (
    select from public.messenger_messages m
    where m.id = v_id and m.fence = v_fence and m.status = 'processing') then
    if exists (
      select from public.messenger_messages m
      where m.id = v_id and m.fence = v_fence and m.status = 'completed') then
      return jsonb_build_object('outcome', 'already');
    end if;
    perform messenger.raise_error('SM_STALE_LEASE', 'message ' || v_id);
  end if;

  v_function := messenger.business_function(function_name);
  execute format('select %s($1)', v_function::regproc) into v_result using coalesce(args, '{}');
  v_outcome := public.messenger_complete(v_id, v_fence, v_result, true);
  return jsonb_build_object('outcome', v_outcome, 'result', v_result);
end $$;

comment on function public.messenger_complete_with(uuid, bigint, text, jsonb) is
  'Runs schema.name(jsonb) returns jsonb and completes the message in this transaction. '
  'Returns {"outcome": "completed", "result"}, where result is stored as the message''s, or {"outcome": "already"}, '
  'without running the function, if this fence has completed the message before. '
  'Example: select messenger_complete_with(id, fence, ''public.charge'', ''{"amount": 5}''). '
  'SM_STALE_LEASE if the lease is not current; SM_UNAVAILABLE if another transaction holds the row longer than 250 ms; '
  'SM_NOT_FOUND or SM_FIELD_FORBIDDEN for a function that does not exist or must not be called. '
  'The function runs with the rights of the caller and search_path pg_catalog, pg_temp; its errors reach the caller, '
  'undo everything and leave the lease.';
revoke all on function
  public.messenger_complete_with(uuid, bigint, text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.messenger_complete_with(uuid, bigint, text, jsonb) to service_role;
