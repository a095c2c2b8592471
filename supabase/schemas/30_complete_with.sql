-- A business function and the completion of a message in one transaction: however often the message is delivered, the effect is there once.

-- By catalog lookup, never by text: what comes back is the one function of exactly this signature, so nothing of the name is ever executed as SQL.
create or replace function messenger.business_function(function_name text)
returns regprocedure
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text[];
  v_function regprocedure;
  v_is_ours boolean;
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
    select p.oid::regprocedure, exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    into v_function, v_is_ours
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = v_names[1] and p.proname = v_names[2] and p.prokind = 'f' and not p.proretset
      and p.pronargs = 1 and p.proargtypes[0] = 'jsonb'::regtype and p.prorettype = 'jsonb'::regtype;
    -- The platform's schemas hold functions that send, schedule, decrypt and sign: none of them is anybody's business effect.
    if v_is_ours or v_names[1] ~ '^pg_' or v_names[1] in ('information_schema', 'messenger', 'auth', 'cron', 'extensions', 'graphql', 'graphql_public', 'net',
        'pgbouncer', 'pgmq', 'pgsodium', 'realtime', 'storage', 'supabase_functions', 'supabase_migrations', 'vault') then
      raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
        message = 'function_name: functions of the system, the platform and extensions may not be called this way',
        hint = 'wrap it in a function of your own, in a schema of your own or in public';
    end if;
  end if;
  if v_function is null then
    raise exception using errcode = 'PT404', detail = 'SM_NOT_FOUND',
      message = 'function_name: there is no function ' || left(coalesce(function_name, 'null'), 200) || '(jsonb) returns jsonb',
      hint = 'name it as schema.name or, in public, as name; quote what is not lower-case; it takes one jsonb and returns jsonb';
  end if;
  return v_function;
end $$;

-- The row is locked before the function runs, so a second delivery never runs it at the same time: it finds the message
-- completed, its lease lost, or the row still locked.
create or replace function public.messenger_complete_with(id uuid, fence bigint, function_name text, args jsonb default '{}')
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid := id;
  v_fence bigint := fence;
  v_function regprocedure;
  v_result jsonb;
  v_outcome text;
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  perform messenger.lock_message(v_id);
  if not exists (select from public.messenger_messages m where m.id = v_id and m.fence = v_fence and m.status = 'processing') then
    if exists (select from public.messenger_messages m where m.id = v_id and m.fence = v_fence and m.status = 'completed') then
      return jsonb_build_object('outcome', 'already');
    end if;
    perform messenger.raise_error('SM_STALE_LEASE', 'message ' || v_id);
  end if;

  v_function := messenger.business_function(function_name);
  execute format('select %s($1)', v_function::regproc) into v_result using coalesce(args, '{}');
  v_outcome := public.messenger_complete(v_id, v_fence, v_result, true);
  return jsonb_build_object('outcome', v_outcome, 'result', v_result);
end $$;

comment on function messenger.business_function(text) is
  'The function schema.name(jsonb) returns jsonb of this name (without a schema: public). SM_NOT_FOUND where there is none, SM_FIELD_FORBIDDEN for those of the system, the platform and extensions.';
comment on function public.messenger_complete_with(uuid, bigint, text, jsonb) is
  'Runs schema.name(jsonb) returns jsonb and completes the message in this transaction: {"outcome": "completed", "result"}, the result stored as the message''s; {"outcome": "already"} when this fence completed it before, without running anything. SM_STALE_LEASE when the lease is not current, SM_UNAVAILABLE when another transaction keeps the row locked for longer than 250 ms. Runs as the caller, with search_path pg_catalog, pg_temp; what the function raises reaches the caller, undoes everything and leaves the lease.';
revoke all on function messenger.business_function(text), public.messenger_complete_with(uuid, bigint, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function messenger.business_function(text), public.messenger_complete_with(uuid, bigint, text, jsonb) to service_role;
