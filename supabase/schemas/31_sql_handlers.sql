-- Handlers in SQL: functions that the clock runs itself, each message's effects and its completion in one subtransaction.

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

create or replace function messenger.set_sql_handler(type text, function_name text)
returns regprocedure
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_type text := type;
  v_function regprocedure;
begin
  if v_type is null or v_type !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$' then
    perform messenger.refuse('SM_TYPE');
  end if;
  if function_name is null then
    update messenger.message_types k set sql_handler = null where k.type = v_type;
    return null;
  end if;
  v_function := messenger.find_owned_function(function_name);
  insert into messenger.message_types as k (type, sql_handler) values (v_type, v_function::regproc::text)
  on conflict on constraint message_types_pkey do update set sql_handler = excluded.sql_handler;
  return v_function;
end $$;

-- Claim, effects and completion commit together with the tick, or not at all. A handler that fails is undone alone. Cancelled, it fails too:
-- pg_cancel_backend on the clock ends the handler that hangs, not the clock.
-- A handler that waits for a lock gives up after lock_timeout. Nothing else can interrupt it: the budget is looked at between messages, and what it
-- leaves goes back unstarted. It is half a second, or what the setting messenger.sql_handler_budget says.
create or replace function messenger.run_sql_handlers(batch int)
returns table (completed bigint, failed bigint, released bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_types text[];
  v_queues text[];
  v_handlers regprocedure[];
  v_end timestamptz;
  v_left int := batch;
  v_message messenger.claimed;
  v_claimed int;
  v_handler regprocedure;
  v_result jsonb;
  v_error text;
  v_detail text;
  v_state text;
  v_trace text;
begin
  completed := 0; failed := 0; released := 0;
  select array_agg(h.type), array_agg(h.handler) into v_types, v_handlers from messenger.sql_handlers() h where h.handler is not null;
  -- One tick at a time: a second one would wait for the first's row in messenger.workers, and a tick waits for nothing.
  if v_types is null or not pg_try_advisory_xact_lock(hashtextextended('messenger.run_sql_handlers', 0)) then
    return next;
    return;
  end if;
  -- Events lie in a queue of their own. Looked for in all queues, beside 300,000 waiting messages of other types, they cost every other tick 150 ms.
  if v_types = '{symphony.event}' then
    v_queues := '{events}';
  end if;
  v_end := clock_timestamp() + coalesce(nullif(current_setting('messenger.sql_handler_budget', true), ''), '500 milliseconds')::interval;

  while v_left > 0 loop
    v_claimed := 0;
    for v_message in select * from public.messenger_claim('sql', least(v_left, 10), queues => v_queues, types => v_types) loop
      v_claimed := v_claimed + 1;
      -- The first is never put back, or a budget of nothing would be a standstill.
      if completed + failed > 0 and clock_timestamp() > v_end then
        perform public.messenger_release(v_message.id, v_message.fence);
        released := released + 1;
        continue;
      end if;
      v_handler := v_handlers[array_position(v_types, v_message.message_type)];
      begin
        perform set_config('messenger.message', jsonb_build_object('id', v_message.id, 'type', v_message.message_type, 'queue', v_message.queue_name,
          'fence', v_message.fence, 'retry_count', v_message.retry_count, 'headers', v_message.headers, 'metadata', v_message.metadata)::text, true);
        execute format('select %s($1)', v_handler::regproc) into v_result using v_message.body;
        perform public.messenger_complete(v_message.id, v_message.fence, v_result, true);
        completed := completed + 1;
      exception when others or query_canceled or assert_failure then
        get stacked diagnostics v_error = message_text, v_detail = pg_exception_detail, v_state = returned_sqlstate, v_trace = pg_exception_context;
        perform public.messenger_fail(v_message.id, v_message.fence, concat_ws(': ', v_error, nullif(v_detail, '')), v_state, v_trace, v_state <> 'PT422');
        failed := failed + 1;
      end;
    end loop;
    v_left := v_left - v_claimed;
    exit when v_claimed = 0 or released > 0 or clock_timestamp() > v_end;
  end loop;
  if completed > 0 then
    perform set_config('messenger.message', '', true);
  end if;
  return next;
end $$;

comment on function messenger.owned_function(text) is 'The function name(jsonb) returns jsonb, if it belongs to the owner of the bus or a superuser; else null.';
comment on function messenger.find_owned_function(text) is 'As messenger.business_function, and SM_FIELD_FORBIDDEN where the function belongs to somebody other than the owner of the bus.';
comment on function messenger.sql_handlers() is 'Types that have an SQL handler, aliases too, with the function; null where it cannot be run.';
comment on function messenger.set_sql_handler(text, text) is
  'Lets schema.name(jsonb) returns jsonb handle a message type inside the database, run by the clock as the owner of the bus; null as function_name takes the handler away. The type need not be registered. For postgres only. The function gets the payload; current_setting(''messenger.message'')::jsonb holds id, type, queue, fence, retry_count, headers and metadata. What it returns is the message''s result; what it raises is a failed delivery, with SQLSTATE PT422 a dead letter at once.';
comment on function messenger.run_sql_handlers(int) is
  'Handles up to so many due messages whose type has an SQL handler, within the time budget. Returns how many were completed, failed and put back unstarted.';
comment on column messenger.message_types.sql_handler is 'Function that handles the type inside the database, run by the clock as the owner of the bus; set by messenger.set_sql_handler, by postgres only.';
revoke all on function messenger.owned_function(text), messenger.find_owned_function(text), messenger.sql_handlers(), messenger.set_sql_handler(text, text), messenger.run_sql_handlers(int) from public, anon, authenticated, service_role;
