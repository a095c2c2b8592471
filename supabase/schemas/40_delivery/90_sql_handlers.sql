-- Handlers in SQL: which function of this database handles a type, and who may say so.

-- What runs here runs as the clock's owner, so a function that somebody else could replace is not run.
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
      and (r.rolsuper or p.proowner = (select c.relowner from pg_catalog.pg_class c where c.oid = 'messenger.message_types'::regclass)));
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
      hint = 'the clock would run it as that owner, and whoever owns the function can replace it: alter function ... owner to postgres';
  end if;
  return v_function;
end $$;

-- Which function handles a type, and its former names: null where the function is gone or has changed its signature or owner.
create or replace function messenger.sql_handlers()
returns table (type text, handler regprocedure)
language plpgsql stable rows 10
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  return query
  select name.type, messenger.owned_function(k.sql_handler)
  from messenger.message_types k cross join lateral unnest(k.type || k.aliases) as name(type)
  where k.sql_handler is not null;
end $$;

-- What is stored is a name, as one function must have one name in whatever session it is stored.
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

comment on function messenger.owned_function(text) is 'The function name(jsonb) returns jsonb, if it belongs to the owner of the bus or a superuser; else null.';
comment on function messenger.find_owned_function(text) is 'As messenger.business_function, and SM_FIELD_FORBIDDEN where the function belongs to somebody other than the owner of the bus.';
comment on function messenger.sql_handlers() is 'Types that have an SQL handler, aliases too, with the function; null where it cannot be run.';
comment on function messenger.set_sql_handler(text, text) is
  'Lets schema.name(jsonb) returns jsonb handle a message type inside the database, run as the owner of the bus by the job symphony-handlers, or by the tick where there is no pg_cron; null as function_name takes the handler away. The type need not be registered. For postgres only. The function gets the payload; current_setting(''messenger.message'')::jsonb holds id, type, queue, fence, retry_count, headers and metadata. What it returns is the message''s result; what it raises is a failed delivery, with SQLSTATE PT422 a dead letter at once.';
comment on column messenger.message_types.sql_handler is 'Function that handles the type inside the database, run as the owner of the bus; set by messenger.set_sql_handler, by postgres only.';
revoke all on function messenger.owned_function(text), messenger.find_owned_function(text), messenger.sql_handlers(),
  messenger.set_sql_handler(text, text) from public, anon, authenticated, service_role;
