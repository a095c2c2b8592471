-- Schema messenger, which the API does not expose, and the extensions that the ticker and the wake-ups use.
create schema if not exists messenger;
-- Marks the schema as ours: migrations and the rollback leave a schema of this name alone unless its comment begins
-- like this.
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

-- The bus works without these extensions: without pg_cron an external scheduler calls the edge function scheduler,
-- without pg_net that call also wakes the workers.
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
-- For authenticated, because messenger.user_dispatch is granted to it; it is granted no other function here.
grant usage on schema messenger to authenticated, service_role;
grant execute on function messenger.release() to service_role;
