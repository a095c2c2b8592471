-- The schema the API never sees, and the extensions the clock and the bells use.
create schema if not exists messenger;
comment on schema messenger is 'Symphony Messenger: everything that is not contract. The contract is public.messenger_*.';

-- Where an extension cannot be had the bus still works: without pg_cron the scheduler door is the clock, without pg_net workers are rung by the clock's owner.
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
