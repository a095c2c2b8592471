-- The only clock of the bus. Statements read it once and pass it on.
-- clock_timestamp(), not now(): a lease counted from the start of a long transaction would be born expired.
create or replace function messenger.now()
returns timestamptz
language plpgsql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_catalog.clock_timestamp();
end $$;

comment on function messenger.now() is 'The time every decision of the bus is made by.';
revoke all on function messenger.now() from public, anon, authenticated;
grant execute on function messenger.now() to service_role;
