-- Calls through the API wait only briefly for a key that an open transaction holds. Their connections are few: ten
-- calls that waited for one key delayed every other call of a project by eight seconds. Direct SQL waits as long as its
-- own lock_timeout allows.

-- PostgREST sets both settings for each call. Other callers set the claims too, to act with a user's token.
create or replace function messenger.is_api_call()
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(current_setting('request.jwt.claims', true), '') <> ''
    or coalesce(current_setting('request.method', true), '') <> '';
end $$;

-- Half of 250 ms, because a row can be waited for twice: in the queue of waiting transactions, then for the row lock.
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

-- For the exception handler of lock_not_available. A timeout that bound_waits has not caused is raised unchanged.
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

comment on function messenger.is_api_call() is
  'True if the call comes through the API or carries the claims of a token.';
comment on function messenger.bound_waits() is
  'Sets lock_timeout to 120 ms for a call through the API and returns the former value; null if nothing was changed.';
comment on function messenger.unbound_waits(text) is
  'Restores the lock_timeout that messenger.bound_waits returned; null changes nothing.';
comment on function messenger.reject_waits(text, text) is
  'Raises SM_UNAVAILABLE for a lock wait that messenger.bound_waits has bounded, and the given error for any other.';
revoke all on function
  messenger.is_api_call(),
  messenger.bound_waits(),
  messenger.unbound_waits(text),
  messenger.reject_waits(text, text)
from public, anon, authenticated;
grant execute on function
  messenger.is_api_call(),
  messenger.bound_waits(),
  messenger.unbound_waits(text),
  messenger.reject_waits(text, text)
to service_role;
