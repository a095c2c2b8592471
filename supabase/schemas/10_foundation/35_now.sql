-- The time source of the bus. A statement reads it once and passes the value on.
-- clock_timestamp() instead of now(): in a long transaction a lease that counts from the transaction's start would
-- already have expired.
create or replace function messenger.now()
returns timestamptz
language plpgsql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_catalog.clock_timestamp();
end $$;

comment on function messenger.now() is 'The current time, by which all functions of the bus decide.';
revoke all on function messenger.now() from public, anon, authenticated;
grant execute on function messenger.now() to service_role;
