-- Schema extensions with the ones every hosted project starts with, and pg_cron as Supabase grants it.
create schema extensions;
grant usage on schema extensions to postgres with grant option;
grant usage on schema extensions to anon, authenticated, service_role;
grant all on schema extensions to postgres;
create extension pgcrypto schema extensions;
create extension "uuid-ossp" schema extensions;

do $$
begin
    if 'pg_stat_statements' = any (string_to_array(current_setting('shared_preload_libraries'), ',')) then
        create extension pg_stat_statements schema extensions;
    end if;
end
$$;
grant all on all functions in schema extensions to postgres with grant option;

-- Not every machine has it.
do $$
begin
    if 'pg_cron' = any (string_to_array(current_setting('shared_preload_libraries'), ',')) then
        create extension pg_cron;
        grant usage on schema cron to postgres with grant option;
        grant execute on all functions in schema cron to postgres with grant option;
        grant usage on all sequences in schema cron to postgres with grant option;
        grant all on table cron.job_run_details to postgres with grant option;
        grant select on table cron.job to postgres with grant option;
    end if;
end
$$;

-- As on a hosted project, DDL makes the API look at the schema again.
create function extensions.pgrst_ddl_watch()
returns event_trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from pg_catalog.pg_event_trigger_ddl_commands() as c
        where c.command_tag ~ '(SCHEMA|TABLE|VIEW|FUNCTION|PROCEDURE|TYPE|DOMAIN|RULE|COMMENT)$'
            and c.schema_name is distinct from 'pg_temp'
    ) then
        notify pgrst, 'reload schema';
    end if;
end
$$;

create function extensions.pgrst_drop_watch()
returns event_trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from pg_catalog.pg_event_trigger_dropped_objects() as o where not o.is_temporary) then
        notify pgrst, 'reload schema';
    end if;
end
$$;

create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
create event trigger pgrst_drop_watch on sql_drop execute function extensions.pgrst_drop_watch();
