-- Checks of health and reasons of explain are functions found by their names: a further one is a file that defines one function, nothing else.

-- Their callers run as the owner of the bus, so a function that somebody else could replace is not among them.
create or replace function messenger.own_functions(prefix text, arguments text, result regtype)
returns table (name text, function regproc)
language sql stable
set search_path = pg_catalog, pg_temp
-- Names of types are compared as text.
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
  'Functions <prefix>_<name> of schema messenger with these argument types and this result, in order of name. Only those of the bus''s own owner.';
revoke all on function messenger.own_functions(text, text, regtype) from public, anon, authenticated, service_role;
