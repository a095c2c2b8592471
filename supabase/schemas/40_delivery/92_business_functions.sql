-- Functions of the project that the bus calls by name.

-- By catalog lookup, never as text: the result is the one function of exactly this signature, so no part of the name is
-- executed as SQL.
create or replace function messenger.business_function(function_name text)
returns regprocedure
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text[];
  v_function regprocedure;
  v_is_of_extension boolean;
begin
  begin
    v_names := parse_ident(function_name);
  exception when invalid_parameter_value then
    v_names := null;
  end;
  if cardinality(v_names) = 1 then
    v_names := array_prepend('public', v_names);
  end if;
  if cardinality(v_names) = 2 then
    select p.oid::regprocedure, exists (
      select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    into v_function, v_is_of_extension
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = v_names[1] and p.proname = v_names[2] and p.prokind = 'f' and not p.proretset
      and p.pronargs = 1 and p.proargtypes[0] = 'jsonb'::regtype and p.prorettype = 'jsonb'::regtype;
    -- The platform's schemas contain functions that send, schedule, decrypt and sign: none of them is a business
    -- function.
    if v_is_of_extension or v_names[1] ~ '^pg_' or v_names[1] in (
      'information_schema', 'messenger', 'auth', 'cron', 'extensions', 'graphql', 'graphql_public', 'net', 'pgbouncer',
      'pgmq', 'pgsodium', 'realtime', 'storage', 'supabase_functions', 'supabase_migrations', 'vault') then
      raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
        message = 'function_name: functions of the system, the platform and extensions must not be called',
        hint = 'call it from a function of your own, in public or another schema of your own';
    end if;
  end if;
  if v_function is null then
    raise exception using errcode = 'PT404', detail = 'SM_NOT_FOUND',
      message = 'function_name: there is no function ' || left(coalesce(function_name, 'null'), 200)
        || '(jsonb) returns jsonb',
      hint = 'name it as schema.name or, in public, as name; quote names that are not lower-case; '
        'it must take one jsonb and return jsonb';
  end if;
  return v_function;
end $$;

comment on function messenger.business_function(text) is
  'The function schema.name(jsonb) returns jsonb of this name (default schema: public). SM_NOT_FOUND if it does not '
  'exist, SM_FIELD_FORBIDDEN for functions of the system, the platform and extensions.';
revoke all on function messenger.business_function(text) from public, anon, authenticated, service_role;
grant execute on function messenger.business_function(text) to service_role;
