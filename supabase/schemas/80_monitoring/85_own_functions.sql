-- Finds health checks and reasons by their function names: adding one takes a file with one function.

-- The callers run as the owner of schema messenger, so functions of other owners are not called.
create or replace function messenger.own_functions(prefix text, arguments text, result regtype)
returns table (name text, function regproc)
language sql stable
set search_path = pg_catalog, pg_temp
-- Type names are compared as text.
set quote_all_identifiers = off
as $$
  select substr(p.proname, length(prefix) + 2), p.oid::regproc
  from pg_catalog.pg_proc p
  where p.pronamespace = 'messenger'::regnamespace and starts_with(p.proname, prefix || '_') and p.prokind = 'f'
    and p.prorettype = result and oidvectortypes(p.proargtypes) = arguments
    and p.proowner = (select c.relowner from pg_catalog.pg_class c where c.oid = 'messenger.settings'::regclass)
  order by p.proname
$$;

comment on function messenger.own_functions(text, text, regtype) is
  'Functions <prefix>_<name> of schema messenger with these argument types and this result type, in order of their '
  'names. Only functions of the schema''s own owner.';
revoke all on function messenger.own_functions(text, text, regtype) from public, anon, authenticated, service_role;
