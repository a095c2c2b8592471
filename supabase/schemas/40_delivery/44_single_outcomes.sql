-- One outcome per call, for callers in SQL; each calls messenger_settle.
create or replace function public.messenger_complete(
  id uuid, fence bigint, result jsonb default null, strict boolean default false
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_outcome text;
begin
  select s.outcome into v_outcome
  from public.messenger_settle(jsonb_build_array(jsonb_build_object(
    'id', id, 'fence', fence, 'outcome', 'completed', 'result', result))) s;
  if strict and v_outcome in ('stale', 'unknown') then
    perform messenger.raise_error('SM_STALE_LEASE', 'message ' || id);
  elsif strict and v_outcome = 'locked' then
    perform messenger.raise_error('SM_UNAVAILABLE', format('message %s is locked by another transaction', id));
  elsif strict and starts_with(v_outcome, 'error: ') then
    perform messenger.raise_error('SM_CONFLICT', format('message %s cannot be completed: %s', id, v_outcome));
  end if;
  return v_outcome;
end $$;

create or replace function public.messenger_fail(
  id uuid, fence bigint, error text, error_class text default null, error_trace text default null,
  retryable boolean default true, retry_after interval default null
)
returns table (outcome text, available_at timestamptz)
language sql
set search_path = pg_catalog, pg_temp
as $$
  select s.outcome, s.available_at
  from public.messenger_settle(jsonb_build_array(jsonb_build_object(
    'id', id, 'fence', fence, 'outcome', 'failed', 'error', error, 'error_class', error_class,
    'error_trace', error_trace, 'retryable', retryable, 'delay_ms', extract(epoch from retry_after) * 1000))) as s
$$;

create or replace function public.messenger_snooze(id uuid, fence bigint, delay interval)
returns text
language sql
set search_path = pg_catalog, pg_temp
as $$
  select s.outcome
  from public.messenger_settle(jsonb_build_array(jsonb_build_object(
    'id', id, 'fence', fence, 'outcome', 'snoozed', 'delay_ms', extract(epoch from delay) * 1000))) as s
$$;

create or replace function public.messenger_release(id uuid, fence bigint)
returns text
language sql
set search_path = pg_catalog, pg_temp
as $$
  select s.outcome
  from public.messenger_settle(jsonb_build_array(jsonb_build_object(
    'id', id, 'fence', fence, 'outcome', 'released'))) as s
$$;

comment on function public.messenger_complete(uuid, bigint, jsonb, boolean) is
  'Completes a message with a result of at most 64 KB. Example: select messenger_complete(id, fence, ''{"sent": '
  'true}''). '
  'Returns completed, already, stale, unknown, locked or error: ..., see messenger_settle. strict raises '
  'SM_STALE_LEASE for stale and unknown, SM_UNAVAILABLE for locked and SM_CONFLICT for an error, so that a transaction '
  'with the business writes rolls back.';
comment on function public.messenger_fail(uuid, bigint, text, text, text, boolean, interval) is
  'Records a failed delivery. Example: select * from messenger_fail(id, fence, ''the server replied 503'', retry_after '
  '=> ''1 minute''). '
  'Returns retry (with available_at), dead, already, stale, unknown, locked or error: ..., see messenger_settle. '
  'retryable false makes it a dead letter; retry_after (default: the policy of the type) is the wait before the next '
  'delivery.';
comment on function public.messenger_snooze(uuid, bigint, interval) is
  'Postpones a message by delay without using a retry: snoozed, stale, locked, cancelled or error: ..., see '
  'messenger_settle. Example: select messenger_snooze(id, fence, ''10 minutes'').';
comment on function public.messenger_release(uuid, bigint) is
  'Returns an unstarted message to its previous position in the queue: released, stale, locked, cancelled or error: '
  '..., see messenger_settle. Example: select messenger_release(id, fence).';
revoke all on function
  public.messenger_complete(uuid, bigint, jsonb, boolean),
  public.messenger_fail(uuid, bigint, text, text, text, boolean, interval),
  public.messenger_snooze(uuid, bigint, interval),
  public.messenger_release(uuid, bigint)
from public, anon, authenticated;
grant execute on function
  public.messenger_complete(uuid, bigint, jsonb, boolean),
  public.messenger_fail(uuid, bigint, text, text, text, boolean, interval),
  public.messenger_snooze(uuid, bigint, interval),
  public.messenger_release(uuid, bigint)
to service_role;
