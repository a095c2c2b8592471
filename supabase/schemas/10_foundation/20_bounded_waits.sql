-- Calls through the API wait only briefly for a key that an open transaction holds: their number is limited, and ten that wait
-- for one key kept every other call of a project waiting for eight seconds. Direct SQL waits as long as it likes.

-- PostgREST sets both settings for each call, and a token has claims elsewhere too.
create or replace function messenger.is_api_call()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(current_setting('request.jwt.claims', true), '') <> '' or coalesce(current_setting('request.method', true), '') <> '';
end $$;

-- Half of 250 ms, because a row can be waited for twice: for a place among those that wait, and then for the lock itself.
create or replace function messenger.bound_waits()
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before text := current_setting('lock_timeout');
begin
  if v_before = '120ms' or not messenger.is_api_call() then
    return null;
  end if;
  perform set_config('lock_timeout', '120ms', true);
  return v_before;
end $$;

create or replace function messenger.unbound_waits(lock_timeout text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if lock_timeout is not null then
    perform set_config('lock_timeout', unbound_waits.lock_timeout, true);
  end if;
end $$;

-- For the handler of lock_not_available: a timeout that is not of this file's making stays what it is.
create or replace function messenger.reject_waits(lock_timeout text, error text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if lock_timeout is null and current_setting('lock_timeout') <> '120ms' then
    raise exception using errcode = 'lock_not_available', message = error;
  end if;
  perform messenger.raise_error('SM_UNAVAILABLE', 'an open transaction holds a key of this call');
end $$;

comment on function messenger.is_api_call() is 'Whether the call comes through the API or in the name of a token.';
comment on function messenger.bound_waits() is
  'Bounds the waits for locks of a call through the API and returns the former lock_timeout; null where nothing was changed.';
comment on function messenger.unbound_waits(text) is 'Sets lock_timeout back to what messenger.bound_waits returned.';
comment on function messenger.reject_waits(text, text) is
  'Raises SM_UNAVAILABLE for a wait that messenger.bound_waits has bounded, or the error as it was.';
revoke all on function messenger.is_api_call(), messenger.bound_waits(), messenger.unbound_waits(text), messenger.reject_waits(text, text)
  from public, anon, authenticated;
grant execute on function messenger.is_api_call(), messenger.bound_waits(), messenger.unbound_waits(text), messenger.reject_waits(text, text)
  to service_role;
