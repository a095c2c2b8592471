-- The catalog as data: one row per object of this release. Definitions do not depend on the owner, the
-- Postgres version, session settings, or a restore from a dump. Expressions are printed without optional
-- parentheses, because a restored "between" loses some.
create or replace function messenger.manifest()
returns table (kind text, object text, definition text)
language sql stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set datestyle = 'ISO, MDY'
set intervalstyle = postgres
set timezone = 'UTC'
set extra_float_digits = 1
as $$
  with relation as (
    select c.oid, s.nspname || '.' || c.relname as name, c.relkind, c.relpersistence, c.relrowsecurity, c.reloptions,
    c.relacl, c.relowner, c.reltype
    from pg_catalog.pg_class c join pg_catalog.pg_namespace s on s.oid = c.relnamespace
    where s.nspname = 'messenger' or s.nspname = 'public' and c.relname like 'messenger\_%'
  ),
  routine as (
    select p.*, s.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' as name
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace s on s.oid = p.pronamespace
    where s.nspname = 'messenger' or s.nspname = 'public' and (p.proname like 'messenger\_%'
      or p.proname like 'update\_messenger\_%')
  ),
  -- Rights of the API's roles and of PUBLIC; those of the owner are implied.
  granted as (
    select 'relation' as of, r.name, a.grantee, a.privilege_type from relation r,
    aclexplode(coalesce(r.relacl, acldefault('r', r.relowner))) a where r.relkind in ('r', 'v', 'S')
    union all
    select 'column', r.name || '.' || t.attname, a.grantee, a.privilege_type
    from relation r join pg_catalog.pg_attribute t on t.attrelid = r.oid, aclexplode(t.attacl) a
    union all
    select 'function', f.name, a.grantee, a.privilege_type
    from routine f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
    union all
    select 'schema', s.nspname, a.grantee, a.privilege_type
    from pg_catalog.pg_namespace s, aclexplode(coalesce(s.nspacl, acldefault('n', s.nspowner))) a
    where s.nspname = 'messenger'
  )
  select 'schema', s.nspname::text, obj_description(s.oid, 'pg_namespace') from pg_catalog.pg_namespace s
  where s.nspname = 'messenger'
  union all
  select 'sequence', r.name, null from relation r where r.relkind = 'S'
    and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_class'::regclass and d.objid = r.oid
      and d.deptype in ('a', 'i'))
  union all
  select 'table', r.name, concat_ws(' ', case r.relpersistence when 'u' then 'unlogged' end,
    case when r.relrowsecurity then 'rls' else 'no rls' end, r.reloptions::text)
  from relation r where r.relkind = 'r'
  union all
  select 'view', r.name, concat_ws(' ', r.reloptions::text,
    (select string_agg(t.attname || ' ' || format_type(t.atttypid, t.atttypmod), ', ' order by t.attnum)
    from pg_catalog.pg_attribute t where t.attrelid = r.oid and t.attnum > 0))
  from relation r where r.relkind = 'v'
  union all
  select 'type', r.name, (select string_agg(t.attname || ' ' || format_type(t.atttypid, t.atttypmod),
    ', ' order by t.attnum) from pg_catalog.pg_attribute t where t.attrelid = r.oid)
  from relation r where r.relkind = 'c'
  union all
  select 'column', r.name || '.' || t.attname,
    concat_ws(' ', format_type(t.atttypid, t.atttypmod), case when t.attnotnull then 'not null' end,
      'default ' || pg_get_expr(d.adbin, d.adrelid, true))
  from relation r join pg_catalog.pg_attribute t on t.attrelid = r.oid and t.attnum > 0 and not t.attisdropped
  left join pg_catalog.pg_attrdef d on d.adrelid = r.oid and d.adnum = t.attnum
  where r.relkind = 'r'
  union all
  -- Postgres 18 lists "not null" as a constraint; the column contains it already.
  select 'constraint', r.name || '.' || k.conname, pg_get_constraintdef(k.oid, true) from relation r
  join pg_catalog.pg_constraint k on k.conrelid = r.oid where k.contype <> 'n'
  union all
  select 'index', r.name, pg_get_indexdef(r.oid) from relation r where r.relkind = 'i'
  union all
  select 'trigger', r.name || '.' || g.tgname,
    concat_ws(' ', pg_get_triggerdef(g.oid, true),
      case g.tgenabled when 'A' then 'always' when 'D' then 'disabled' when 'R' then 'replica' end)
  from relation r join pg_catalog.pg_trigger g on g.tgrelid = r.oid where not g.tgisinternal
  union all
  select 'policy', r.name || '.' || p.polname,
    concat_ws(' ', p.polcmd::text, (select string_agg(q.rolname, ',' order by q.rolname) from pg_catalog.pg_roles q
      where q.oid = any (p.polroles)),
      'using ' || pg_get_expr(p.polqual, p.polrelid, true), 'check ' || pg_get_expr(p.polwithcheck, p.polrelid, true))
  from relation r join pg_catalog.pg_policy p on p.polrelid = r.oid
  union all
  select 'function', f.name, concat_ws(' ', 'returns', pg_get_function_result(f.oid), 'language', l.lanname,
    case f.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
    case when f.prosecdef then 'definer' else 'invoker' end, 
      -- The path has quotes if the function was created under quote_all_identifiers.
      (select array_agg(replace(c.setting, '"', '') order by c.n)
        from unnest(f.proconfig) with ordinality as c(setting, n))::text,
    -- Line ends may differ after editing on another machine. The expected manifest cannot contain its own digest.
    'source', case when f.proname = 'expected_manifest' then 'generated' else md5(replace(f.prosrc, E'\r', '')) end)
  from routine f join pg_catalog.pg_language l on l.oid = f.prolang
  union all
  select 'grant', g.of || ' ' || g.name || ' to ' || coalesce(q.rolname, 'public'),
    string_agg(distinct lower(g.privilege_type collate "C"), ',' order by lower(g.privilege_type collate "C"))
  from granted g left join pg_catalog.pg_roles q on q.oid = g.grantee
  where coalesce(q.rolname, 'public') in ('public', 'anon', 'authenticated', 'service_role')
  group by g.of, g.name, q.rolname
$$;

comment on function messenger.manifest() is
  'Every object of this installation with its definition: tables, columns, constraints, indexes, triggers, policies, '
  'functions, types, views, and grants to the API''s roles.';
revoke all on function messenger.manifest() from public, anon, authenticated, service_role;
