-- The schema the API never sees, and the extensions the clock and the wake-ups use.
create schema if not exists messenger;
-- The marker of ownership: migrations and the rollback leave a schema of this name alone unless its comment begins like this.
comment on schema messenger is 'Symphony Messenger @RELEASE@: internal objects. The contract is public.messenger_*.';

create or replace function messenger.release()
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return '@RELEASE@';
end $$;
comment on function messenger.release() is 'The installed release, for example 0.2.0.';
revoke all on function messenger.release() from public, anon, authenticated;

-- Where an extension cannot be had the bus still works: without pg_cron the scheduler edge function is the clock, without pg_net workers are woken by the clock's owner.
do $$
declare
  v_extension text;
begin
  foreach v_extension in array array['pg_cron', 'pg_net', 'supabase_vault'] loop
    if exists (select from pg_catalog.pg_available_extensions where name = v_extension)
       and not exists (select from pg_catalog.pg_extension where extname = v_extension) then
      begin
        execute pg_catalog.format('create extension if not exists %I', v_extension);
      exception when others then
        raise notice 'extension % was not created: %', v_extension, sqlerrm;
      end;
    end if;
  end loop;
end $$;

revoke all on schema messenger from public, anon, authenticated;
-- authenticated needs the schema to reach messenger.user_dispatch, the one function granted to it there.
grant usage on schema messenger to authenticated, service_role;
grant execute on function messenger.release() to service_role;
