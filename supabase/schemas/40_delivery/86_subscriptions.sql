-- Subscriptions to events, and the SQL handler that calls the subscribed functions.

create or replace function messenger.check_subscription(event text, message_type text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if event is null or event not in ('completed', 'failed', 'dead', 'retried') then
    raise exception using errcode = 'PT404', detail = 'SM_NOT_FOUND',
      message = 'event: there is no event ' || left(coalesce(event, 'null'), 100),
      hint = 'use completed, retried, dead or failed';
  elsif message_type !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$' then
    perform messenger.raise_error('SM_TYPE', 'message_type');
  elsif starts_with(message_type, 'symphony.') then
    raise exception using errcode = 'PT403', detail = 'SM_FIELD_FORBIDDEN',
      message = 'message_type: the bus''s own messages have no events',
      hint = 'name a type of the project, or omit it for all of them';
  end if;
end $$;

-- The name is stored as it prints without the session's settings, so that one function always has one name.
create or replace function messenger.on(event text, function_name text, message_type text default null)
returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
declare
  v_function regprocedure;
  v_id uuid;
begin
  perform messenger.check_subscription(event, message_type);
  v_function := messenger.find_owned_function(function_name);
  perform messenger.ensure_own_types();
  update messenger.message_types k set sql_handler = 'messenger.deliver_event'
  where k.type = 'symphony.event' and k.sql_handler is distinct from 'messenger.deliver_event';
  insert into messenger.subscriptions as s (event, message_type, function_name)
  values (event, message_type, v_function::regproc::text)
  on conflict on constraint subscriptions_key do update set enabled = true, disabled_reason = null
  returning s.id into v_id;
  perform messenger.sync_handlers_job();
  return v_id;
end $$;

create or replace function messenger.off(id uuid)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_was_there boolean;
begin
  delete from messenger.subscriptions s where s.id = off.id;
  v_was_there := found;
  perform messenger.sync_handlers_job();
  return v_was_there;
end $$;

-- Looked up at each delivery: a name is stored, and the function of that name may have been dropped or changed its
-- owner.
create or replace function messenger.deliver_event(event jsonb)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_function regprocedure;
  v_result jsonb;
begin
  select s.function_name into v_name from messenger.subscriptions s
  where s.id = (deliver_event.event ->> 'subscription')::uuid and s.enabled and s.kind = 'function';
  if not found then
    return jsonb_build_object('skipped', 'unsubscribed');
  end if;
  v_function := messenger.owned_function(v_name);
  if v_function is null then
    raise exception using errcode = 'PT404', detail = 'SM_NOT_FOUND',
      message = v_name || '(jsonb) returns jsonb is gone, or has changed its owner',
      hint = 'create it again as the owner of the bus, or call messenger.off';
  end if;
  execute format('select %s($1)', v_function::regproc) into v_result using deliver_event.event;
  return v_result;
end $$;

comment on function messenger.check_subscription(text, text) is
  'Raises SM_NOT_FOUND, SM_TYPE or SM_FIELD_FORBIDDEN for an event or a message type that cannot be subscribed to.';
comment on function messenger.on(text, text, text) is
  'Subscribes schema.name(jsonb) returns jsonb to an event, completed, retried, dead or failed, of one message type or '
  'of all. For postgres only. '
  'Example: select messenger.on(''dead'', ''public.alert'', ''Greeting''). '
  'The function runs with the rights of the owner of the bus and receives {"subscription", "event", "at", "message": '
  '{"id", "type", "transport", "queue", "status", "retry_count", "error_class", "error", "created_at", "processed_at", '
  '"created_by"}}. If it raises an error the event is retried, and then becomes a dead letter of type symphony.event. '
  'Returns the subscription''s id, the same for the same subscription. Errors: SM_NOT_FOUND, SM_FIELD_FORBIDDEN, '
  'SM_TYPE.';
comment on function messenger.off(uuid) is
  'Deletes a subscription; events not yet delivered to it are dropped. Returns false if it does not exist. For '
  'postgres only.';
comment on function messenger.deliver_event(jsonb) is
  'The SQL handler of symphony.event: calls the subscribed function and returns its result.';
revoke all on function
  messenger.check_subscription(text, text),
  messenger.on(text, text, text),
  messenger.off(uuid),
  messenger.deliver_event(jsonb)
from public, anon, authenticated, service_role;
