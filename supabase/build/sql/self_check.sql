-- ---- The migration verifies itself.
do $$
declare
  v_relations constant text[] := @RELATIONS@;
  v_functions constant text[] := @FUNCTIONS@;
  v_wrong text;
begin
  select string_agg(n, ', ') into v_wrong from unnest(v_relations) n where to_regclass(n) is null;
  if v_wrong is not null then
    raise exception 'symphony migration: missing %', v_wrong;
  end if;
  select string_agg(n, ', ') into v_wrong from unnest(v_functions) n
  where (
    select count(*) from pg_catalog.pg_proc p join pg_catalog.pg_namespace s on s.oid = p.pronamespace
    where s.nspname || '.' || p.proname = n) <> 1;
  if v_wrong is not null then
    raise exception 'symphony migration: not defined exactly once: %', v_wrong;
  end if;
  select string_agg(c.oid::regclass::text, ', ') into v_wrong
  from pg_catalog.pg_class c where c.oid = any (v_relations::regclass[]) and c.relkind = 'r' and not c.relrowsecurity;
  if v_wrong is not null then
    raise exception 'symphony migration: without row level security: %', v_wrong;
  end if;
  select string_agg(p.oid::regprocedure::text, ', ') into v_wrong
  from pg_catalog.pg_proc p join pg_catalog.pg_namespace s on s.oid = p.pronamespace
  where s.nspname || '.' || p.proname = any (v_functions)
    and (not coalesce(p.proconfig, '{}') @> array['search_path=pg_catalog, pg_temp']
      or has_function_privilege('anon', p.oid, 'execute'));
  if v_wrong is not null then
    raise exception 'symphony migration: open to anon, or without a pinned search_path: %', v_wrong;
  end if;
end $$;

-- PostgREST reloads its schema cache.
notify pgrst, 'reload schema';
