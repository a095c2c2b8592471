-- One statement, so that it removes everything or nothing with any client.
do $rollback$
declare
  v_path constant text := current_setting('search_path');
  v_quoting constant text := current_setting('quote_all_identifiers');
  v_schema constant oid := to_regnamespace('messenger');
  v_timeout constant text := current_setting('lock_timeout');
  v_end constant timestamptz := clock_timestamp() + case v_timeout when '0' then '10 s' else v_timeout end::interval;
  v_manifest jsonb;
  v_relations oid[];
  v_functions oid[];
  v_types oid[];
  v_list text;
  v_drops text[];
  v_drop text;
begin
  perform set_config('search_path', 'pg_catalog, pg_temp', true), set_config('quote_all_identifiers', 'off', true);
  if v_schema is null then
    raise notice 'Symphony Messenger is not installed in this database: there is nothing to remove';
    perform set_config('search_path', v_path, true), set_config('quote_all_identifiers', v_quoting, true);
    return;
  elsif coalesce(obj_description(v_schema, 'pg_namespace') not like 'Symphony Messenger%',
    to_regprocedure('messenger.expected_manifest()') is null) then
    raise notice 'schema "messenger" of this database was not created by Symphony Messenger: it is unchanged';
    perform set_config('search_path', v_path, true), set_config('quote_all_identifiers', v_quoting, true);
    return;
  elsif to_regprocedure('messenger.expected_manifest()') is null then
    raise exception using errcode = 'object_not_in_prerequisite_state',
      message = 'the installation of Symphony Messenger in this database is incomplete; nothing was removed',
      hint = 'run the migration to its end, then this file again';
  end if;

  -- The manifest of the installed release lists our objects. The test clock
  -- is a development tool that no release installs.
  execute 'select messenger.expected_manifest()' into v_manifest;
  with ours as materialized (
    select e ->> 0 as kind, e ->> 1 as name from jsonb_array_elements(v_manifest) e
    where e ->> 0 in ('table', 'view', 'sequence', 'function', 'type')
    -- 0.1.0 lists its sequence only in a grant.
    union select 'table', split_part(e ->> 1, ' ', 2) from jsonb_array_elements(v_manifest) e
    where e ->> 0 = 'grant' and e ->> 1 like 'relation %'
    union values ('table', 'messenger.test_clock'), ('function', 'messenger.set_clock(skew interval)')
  )
  select
    array(select distinct c.oid from pg_catalog.pg_class c
      join ours o on o.kind in ('table', 'view', 'sequence')
        and o.name = c.relnamespace::regnamespace || '.' || c.relname),
    array(select p.oid from pg_catalog.pg_proc p
      join ours o on o.kind = 'function'
        and o.name = p.pronamespace::regnamespace || '.' || p.proname
          || '(' || pg_get_function_identity_arguments(p.oid) || ')'),
    array(select t.oid from pg_catalog.pg_type t
      join ours o on o.kind = 'type' and o.name = t.typnamespace::regnamespace || '.' || t.typname)
  into v_relations, v_functions, v_types;
  v_types := v_types || array(select t.oid from pg_catalog.pg_type t where t.typrelid = any (v_relations));
  v_types := v_types || array(
    select t.oid from pg_catalog.pg_type t where t.typelem = any (v_types) and t.typcategory = 'A');

  -- Wait for the end of transactions that use these tables. A long attempt is
  -- given up, or it would be taken for a deadlock.
  loop
    begin
      perform set_config('lock_timeout', '250ms', true);
      select 'lock table '
        || string_agg(c.oid::regclass::text, ', '
          order by c.relname <> 'messenger_transports', c.relname <> 'workers', c.oid)
        || ' in access exclusive mode'
      into v_list from pg_catalog.pg_class c where c.oid = any (v_relations) and c.relkind = 'r';
      execute v_list;
      exit;
    exception when lock_not_available then
      if clock_timestamp() > v_end then
        raise exception using errcode = 'lock_not_available',
          message = 'another transaction that uses Symphony Messenger is still open; nothing was removed',
          hint = 'end it (select pid, state, query from pg_stat_activity where state <> ''idle''), then run this file '
            'again';
      end if;
    end;
    perform pg_sleep(0.02);
  end loop;
  perform set_config('lock_timeout', v_timeout, true);

  -- Objects of the project that depend on ours stop the rollback: a foreign
  -- key, a view, a function or a column of our types.
  select string_agg(distinct pg_describe_object(d.classid, d.objid, d.objsubid), ', ') into v_list
  from pg_catalog.pg_depend d
  left join pg_catalog.pg_rewrite w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
  left join pg_catalog.pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
  left join pg_catalog.pg_trigger g on d.classid = 'pg_trigger'::regclass and g.oid = d.objid
  left join pg_catalog.pg_policy y on d.classid = 'pg_policy'::regclass and y.oid = d.objid
  left join pg_catalog.pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
  left join pg_catalog.pg_index i on d.classid = 'pg_class'::regclass and i.indexrelid = d.objid
  left join pg_catalog.pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid and c.relkind = 'c'
  where d.deptype = 'n'
    and (d.refclassid = 'pg_class'::regclass and d.refobjid = any (v_relations)
      or d.refclassid = 'pg_proc'::regclass and d.refobjid = any (v_functions)
      or d.refclassid = 'pg_type'::regclass and d.refobjid = any (v_types))
    and coalesce(w.ev_class, k.conrelid, g.tgrelid, y.polrelid, f.adrelid, i.indrelid, c.reltype, d.objid)
      <> all (v_relations || v_functions || v_types);
  if v_list is not null then
    raise exception using errcode = 'dependent_objects_still_exist',
      message = format('objects of the project depend on Symphony Messenger: %s; nothing was removed', v_list),
      hint = 'drop or change them, then run this file again';
  end if;

  if to_regclass('cron.job') is not null then
    delete from cron.job_run_details d
    using cron.job j
    where d.jobid = j.jobid and j.jobname in ('symphony-clock', 'symphony-handlers')
      and strpos(j.command, 'messenger.') > 0;
    delete from cron.job_run_details d where strpos(d.command, 'messenger.tick_or_note_error()') > 0;
    perform cron.unschedule(j.jobid) from cron.job j
    where j.jobname in ('symphony-clock', 'symphony-handlers') and strpos(j.command, 'messenger.') > 0;
  end if;
  if to_regclass('vault.secrets') is not null then
    delete from vault.secrets where name in ('symphony_worker_secret', 'symphony_worker_secret_next');
  end if;

  -- Cascading reaches only objects that were found to be ours. All names are collected before the first drop.
  v_drops := array(
      select format('drop %s if exists %s cascade',
        case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, c.oid::regclass)
      from pg_catalog.pg_class c where c.oid = any (v_relations) order by c.relkind <> 'v')
    || array(
      select format('drop function if exists %s cascade', p.oid::regprocedure)
      from pg_catalog.pg_proc p where p.oid = any (v_functions))
    || array(
      select format('drop type if exists %s cascade', t.oid::regtype)
      from pg_catalog.pg_type t join pg_catalog.pg_class c on c.oid = t.typrelid and c.relkind = 'c'
      where t.oid = any (v_types));
  foreach v_drop in array v_drops loop
    execute v_drop;
  end loop;

  select string_agg(pg_describe_object(d.classid, d.objid, d.objsubid), ', ') into v_list
  from pg_catalog.pg_depend d
  where d.refclassid = 'pg_namespace'::regclass and d.refobjid = v_schema and d.deptype = 'n';
  if v_list is null then
    drop schema messenger;
  else
    comment on schema messenger is null;
    raise notice 'schema "messenger" stays, because it holds objects of the project: %', v_list;
  end if;
  perform set_config('search_path', v_path, true), set_config('quote_all_identifiers', v_quoting, true);
  notify pgrst, 'reload schema';
end $rollback$;
