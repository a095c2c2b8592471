-- SQL handlers: the function of this database that handles a type, and the right to set it.

-- These functions run with the rights of the ticker's owner, so a function that another role could replace must not
-- run.
create or replace function messenger.owned_function(name text)
returns regprocedure
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select p.oid::regprocedure from pg_catalog.pg_proc p join pg_catalog.pg_roles r on r.oid = p.proowner
    where p.oid = to_regprocedure(owned_function.name || '(jsonb)')
      and p.prorettype = 'jsonb'::regtype and not p.proretset and p.prokind = 'f'
      and (r.rolsuper or p.proowner = (
        select c.relowner from pg_catalog.pg_class c where c.oid = 'messenger.message_types'::regclass)));
end $$;

create or replace function messenger.find_owned_function(function_name text)
returns regprocedure
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure := messenger.business_function(function_name);
begin
  if messenger.owned_function(v_function::regproc::text) is distinct from v_function then
    raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
      message = 'function_name: ' || v_function || ' does not belong to the owner of the bus',
      hint = 'run alter function ... owner to postgres: the function runs with the rights of that owner, '
        'and its own owner could replace it';
  end if;
  return v_function;
end $$;

-- Null if the function is gone or has changed its signature or owner.
create or replace function messenger.sql_handlers()
returns table (type text, handler regprocedure)
language plpgsql stable rows 10
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  return query
  select alias.type, messenger.owned_function(k.sql_handler)
  from messenger.message_types k cross join lateral unnest(k.type || k.aliases) as alias(type)
  where k.sql_handler is not null;
end $$;

-- The name is stored as it prints without the session's settings, so that one function always has one name.
create or replace function messenger.set_sql_handler(type text, function_name text)
returns regprocedure
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
declare
  v_type text := type;
  v_function regprocedure;
begin
  if v_type is null or v_type !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$' then
    perform messenger.raise_error('SM_TYPE');
  end if;
  if function_name is null then
    update messenger.message_types k set sql_handler = null where k.type = v_type;
    perform messenger.sync_handlers_job();
    return null;
  end if;
  v_function := messenger.find_owned_function(function_name);
  insert into messenger.message_types as k (type, sql_handler) values (v_type, v_function::regproc::text)
  on conflict on constraint message_types_pkey do update set sql_handler = excluded.sql_handler;
  perform messenger.sync_handlers_job();
  return v_function;
end $$;

comment on function messenger.owned_function(text) is
  'The function name(jsonb) returns jsonb, if it belongs to the owner of the bus or a superuser; otherwise null.';
comment on function messenger.find_owned_function(text) is
  'As messenger.business_function, but raises SM_FIELD_FORBIDDEN if the function does not belong to the owner of the '
  'bus.';
comment on function messenger.sql_handlers() is
  'Types and aliases that have an SQL handler, with the function; null if it cannot run.';
comment on function messenger.set_sql_handler(text, text) is
  'Makes schema.name(jsonb) returns jsonb the handler of a message type inside the database. For postgres only. '
  'Example: select messenger.set_sql_handler(''Greeting'', ''public.greet''). '
  'The job symphony-handlers runs it with the rights of the owner of the bus, or the tick if pg_cron has no such job. '
  'A null function_name removes the handler. The type need not be registered. '
  'The function receives the payload; current_setting(''messenger.message'')::jsonb has id, type, queue, fence, '
  'retry_count, headers and metadata. Its result is stored as the message''s; an error is a failed delivery, with '
  'SQLSTATE PT422 a final one. '
  'Errors: SM_TYPE, SM_NOT_FOUND, SM_FIELD_FORBIDDEN.';
revoke all on function
  messenger.owned_function(text),
  messenger.find_owned_function(text),
  messenger.sql_handlers(),
  messenger.set_sql_handler(text, text)
from public, anon, authenticated, service_role;
