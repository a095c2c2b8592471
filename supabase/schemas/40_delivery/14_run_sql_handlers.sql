-- Running SQL handlers: one message at a time, its effects and its completion in one subtransaction.

create or replace function messenger.handler_timeout(type text)
returns interval
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select least(interval '11 hours', coalesce((
    select k.timeout_ms * interval '1 ms' from messenger.message_types k
    where handler_timeout.type = any (k.type || k.aliases) and k.sql_handler is not null limit 1
  ), interval '30 seconds'))
$$;

-- After "set constraints all immediate" the constraints would be checked immediately for the next handler of the same
-- transaction, which may rely on a check at its end.
create or replace function messenger.defer_constraints()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text;
begin
  select string_agg(distinct format('%I.%I', n.nspname, c.conname), ', ') into v_names
  from pg_catalog.pg_constraint c join pg_catalog.pg_namespace n on n.oid = c.connamespace
  where c.condeferred and has_schema_privilege(n.oid, 'usage');
  if v_names is not null then
    execute format('set constraints %s deferred', v_names);
  end if;
end $$;

-- The handler's writes, the completion and deferred constraints are undone together if one of them fails. The runner's
-- row is written last: from then on the ticker cannot lock it, so it never cancels a backend that has continued with
-- another message. A handler that changes its role, for example to be subject to row level security, need not change it
-- back.
create or replace function messenger.handle_message(message messenger.claimed, cut_at timestamptz default null)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_role text := current_setting('role');
  v_handler regprocedure := (select h.handler from messenger.sql_handlers() h where h.type = message.message_type);
  v_was_overdue boolean;
  v_result jsonb;
  v_error text;
  v_detail text;
  v_state text;
  v_trace text;
begin
  begin
    perform set_config('messenger.message', jsonb_build_object(
      'id', message.id, 'type', message.message_type, 'queue', message.queue_name, 'fence', message.fence,
      'retry_count', message.retry_count, 'headers', message.headers, 'metadata', message.metadata)::text, true);
    execute format('select %s($1)', v_handler::regproc) into v_result using message.body;
    if current_setting('role') <> v_role then
      perform set_config('role', v_role, false);
    end if;
    perform public.messenger_complete(message.id, message.fence, v_result, true);
    set constraints all immediate;
    perform set_config('messenger.message', '', true);
    perform messenger.note_run(null);
    return 'completed';
  exception when others or query_canceled or assert_failure then
    get stacked diagnostics v_error = message_text, v_detail = pg_exception_detail, v_state = returned_sqlstate,
      v_trace = pg_exception_context;
  end;

  -- Waits for the ticker, which holds the row until it has committed the cancellation.
  select r.cancelled_at is not null into v_was_overdue from messenger.sql_runners r
  where r.pid = pg_backend_pid() and r.message_id = message.id for update;
  perform messenger.note_run(null);
  if v_state = '57014' and v_was_overdue then
    v_error := format('the handler did not end within %s s and was cancelled',
      trim_scale(extract(epoch from messenger.handler_timeout(message.message_type))));
    v_state := 'Timeout';
  elsif v_state = '57014' and clock_timestamp() >= cut_at then
    -- The statement_timeout of the job that runs handlers, not the timeout of the type. It occurs once.
    perform public.messenger_release(message.id, message.fence);
    return 'released';
  end if;
  perform public.messenger_fail(
    message.id, message.fence, concat_ws(': ', v_error, nullif(v_detail, '')), v_state, v_trace, v_state <> 'PT422');
  return 'failed';
end $$;

-- If a handler has ended its backend, its type waits until the lease of that message has expired: with a backlog of
-- such messages every new runner would be ended immediately.
create or replace function messenger.sql_types()
returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(h.type) from messenger.sql_handlers() h
  where h.handler is not null and h.type not in (
    select r.message_type from messenger.sql_runners r
    where r.message_id is not null and r.deadline > clock_timestamp() - interval '30 seconds'
      and not messenger.is_backend_alive(r.pid, r.backend_start))
$$;

-- Events have a queue of their own. Searching all queues, beside 300,000 waiting messages of other types, cost every
-- second claim 150 ms.
create or replace function messenger.sql_queues(types text[])
returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case when types = '{symphony.event}' then '{events}'::text[] end $$;

-- Runs in the tick if pg_cron has no job for it: claim, effects and completion commit together with the tick, or not at
-- all. The time budget is checked between messages, and the remaining ones are released. It is 500 ms (setting
-- messenger.sql_handler_budget).
create or replace function messenger.run_sql_handlers(batch int)
returns table (completed bigint, failed bigint, released bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_types text[] := messenger.sql_types();
  v_ends_at timestamptz := clock_timestamp()
    + coalesce(nullif(current_setting('messenger.sql_handler_budget', true), ''), '500 milliseconds')::interval;
  v_left int := batch;
  v_message messenger.claimed;
  v_claimed int;
begin
  completed := 0; failed := 0; released := 0;
  while v_left > 0 and v_types is not null loop
    v_claimed := 0;
    for v_message in
      select * from public.messenger_claim(messenger.sql_worker(), least(v_left, 10),
        queues => messenger.sql_queues(v_types), types => v_types)
    loop
      v_claimed := v_claimed + 1;
      -- The first is never released: with a budget of zero no message would ever be handled.
      if completed + failed > 0 and clock_timestamp() > v_ends_at then
        perform public.messenger_release(v_message.id, v_message.fence);
        released := released + 1;
        continue;
      end if;
      perform messenger.defer_constraints();
      if messenger.handle_message(v_message) = 'completed' then
        completed := completed + 1;
      else
        failed := failed + 1;
      end if;
    end loop;
    v_left := v_left - v_claimed;
    exit when v_claimed = 0 or released > 0 or clock_timestamp() > v_ends_at;
  end loop;
  return next;
end $$;

comment on function messenger.handler_timeout(text) is
  'How long the SQL handler of a type may run: timeout_ms of the type (default: 30 s), at most 11 hours.';
comment on function messenger.defer_constraints() is 'Defers the constraints that are initially deferred.';
comment on function messenger.handle_message(messenger.claimed, timestamptz) is
  'Runs the SQL handler of a claimed message and settles the message. Returns completed, failed, or released if the '
  'statement_timeout of the job ended it at cut_at.';
comment on function messenger.sql_types() is 'Types and aliases whose SQL handler may run now; null if there are none.';
comment on function messenger.sql_queues(text[]) is 'The queues in which messages of these types can be; null: any.';
comment on function messenger.run_sql_handlers(int) is
  'Handles up to batch due messages whose type has an SQL handler, within the time budget. Returns how many were '
  'completed, failed and released.';
revoke all on function
  messenger.handler_timeout(text),
  messenger.defer_constraints(),
  messenger.handle_message(messenger.claimed, timestamptz),
  messenger.sql_types(),
  messenger.sql_queues(text[]),
  messenger.run_sql_handlers(int)
from public, anon, authenticated, service_role;
