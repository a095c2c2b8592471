-- ---- Preflight: nothing is changed if one of our names belongs to another object, or if another release is installed.
do $$
declare
  v_relations constant text[] := @RELATIONS@;
  v_functions constant text[] := @FUNCTIONS@;
  v_path constant text := current_setting('search_path');
  v_schema constant oid := to_regnamespace('messenger');
  v_marker constant text := obj_description(v_schema, 'pg_namespace');
  v_installed text;
  v_manifest jsonb := '[]';
  v_foreign text;
begin
  -- Names in a manifest are written with this search_path.
  perform set_config('search_path', 'pg_catalog, pg_temp', true);

  if v_schema is not null then
    -- A dump without comments has lost the marker, but not the function that contains the catalog.
    if coalesce(v_marker not like 'Symphony Messenger%', to_regprocedure('messenger.expected_manifest()') is null) then
      raise exception using errcode = 'duplicate_schema',
        message = 'this database has a schema "messenger" that was not created by Symphony Messenger; nothing was '
          'changed',
        hint = 'rename that schema (alter schema messenger rename to ...), or install into another database';
    end if;
    -- After a restore by another role, this session can neither replace
    -- the objects of that role nor read their catalog.
    if not pg_has_role((select n.nspowner from pg_catalog.pg_namespace n where n.oid = v_schema), 'usage') then
      raise exception using errcode = 'insufficient_privilege',
        message = format(
          'Symphony Messenger in this database belongs to role %s, and this session is role %s; nothing was changed',
          (select n.nspowner::regrole from pg_catalog.pg_namespace n where n.oid = v_schema), current_user),
        hint = 'run this file as that role';
    end if;
    v_installed := coalesce(substring(v_marker from '^Symphony Messenger (\d+\.\d+\.\d+)'), '0.1.0');
    if to_regprocedure('messenger.release()') is not null then
      execute 'select messenger.release()' into v_installed;
    end if;
    if to_regprocedure('messenger.expected_manifest()') is not null then
      execute 'select messenger.expected_manifest()' into v_manifest;
    end if;
  end if;
  if coalesce(v_installed, '@RELEASE@') <> '@INSTALLABLE@' then
    raise exception using errcode = 'object_not_in_prerequisite_state',
      message = concat(
        coalesce('Symphony Messenger ' || v_installed || ' is installed in this database',
          'Symphony Messenger is not installed in this database'),
        '; this file @PURPOSE@; nothing was changed'),
      hint = @REMEDY@;
  end if;

  -- The manifest of 0.1.0 contains sequences only in its grants.
  with installed as materialized (
    select e ->> 0 as kind, e ->> 1 as object from jsonb_array_elements(v_manifest) e
    union
    select 'relation', split_part(e ->> 1, ' ', 2) from jsonb_array_elements(v_manifest) e
    where e ->> 0 = 'grant' and e ->> 1 like 'relation %'
  ),
  foreign_object as (
    select format('%s %s', case c.relkind
        when 'r' then 'table' when 'p' then 'table' when 'v' then 'view' when 'm' then 'materialized view'
        when 'i' then 'index' when 'S' then 'sequence' when 'f' then 'foreign table' else 'type'
      end, r.name) as description
    from unnest(v_relations) as r(name) join pg_catalog.pg_class c on c.oid = to_regclass(r.name)
    where not exists (select from installed i where i.kind <> 'function' and i.object = r.name)
    union
    select format('type %s', r.name)
    from unnest(v_relations) as r(name) join pg_catalog.pg_type t on t.oid = to_regtype(r.name) and t.typrelid = 0
    union
    select format('function %s', p.oid::regprocedure)
    from unnest(v_functions) as f(name)
    join pg_catalog.pg_proc p on p.pronamespace::regnamespace::text || '.' || p.proname = f.name
    where not exists (
      select from installed i
      where i.kind = 'function' and i.object = f.name || '(' || pg_get_function_identity_arguments(p.oid) || ')')
  )
  select string_agg(o.description, ', ' order by o.description) into v_foreign from foreign_object o;
  -- Without a manifest in our schema, an earlier run of this file was interrupted: the existing objects are its own.
  if v_foreign is not null and (v_schema is null or v_manifest <> '[]') then
    raise exception using errcode = 'duplicate_object',
      message = format('this database has other objects under names that Symphony Messenger uses: %s; '
        'nothing was changed', v_foreign),
      hint = 'rename them, or install into another database';
  end if;
  perform set_config('search_path', v_path, true);
end $$;
