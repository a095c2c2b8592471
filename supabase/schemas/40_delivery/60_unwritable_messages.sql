-- Rows that cannot be written: which errors are due to a row, and which messages claims therefore leave out.

-- Excluded are errors that a retry of the whole call may fix, such as a lost connection, a full disk or a lost race.
-- Any other error may be due to a single row: a trigger or constraint of the project, a value out of range, a lock that
-- a trigger waited for.
create or replace function messenger.is_row_error(sqlstate text)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return left(sqlstate, 2) not in ('08', '25', '40', '53', '57', '58');
end $$;

-- Deferred constraints of the project would fail at commit, too late to find the row, so they are checked now. A
-- session that has found none caches that until the second is over. A constraint that shares its name with one that is
-- not deferrable is left out: it could not be deferred again.
create or replace function messenger.check_deferred(at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_second text := date_part('epoch', at)::bigint;
  v_names text;
begin
  if current_setting('messenger.none_deferred_in', true) = v_second then
    return;
  end if;
  v_names := (
    select string_agg(distinct format('%I.%I', n.nspname, c.conname), ', ')
    from pg_catalog.pg_trigger t
    join pg_catalog.pg_constraint c on c.oid = t.tgconstraint
    join pg_catalog.pg_namespace n on n.oid = c.connamespace
    where t.tgrelid in ('public.messenger_messages'::regclass, 'public.messenger_failed_messages'::regclass)
      and t.tginitdeferred and t.tgenabled <> 'D' and not exists (
        select from pg_catalog.pg_constraint x
        where x.connamespace = c.connamespace and x.conname = c.conname and not x.condeferrable));
  if v_names is null then
    perform set_config('messenger.none_deferred_in', v_second, false);
  else
    execute format('set constraints %s immediate', v_names);
    execute format('set constraints %s deferred', v_names);
  end if;
end $$;

-- At the head of a queue such a message would be found again by every claim. Health reports it, and it is attempted
-- again after a minute. Definer: the table belongs to the ticker, which attempts its rows with the owner's rights, so
-- service_role must not write it.
create or replace function messenger.set_message_aside(message_id uuid, error text, sqlstate text, at timestamptz)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform messenger.set_row_aside(
    'claim', 'public.messenger_messages', jsonb_build_object('id', message_id)::text, messenger.clip(error, 1000),
    sqlstate, at);
  perform set_config('messenger.leaves_out_until', extract(epoch from at + interval '1 minute')::text, false);
end $$;

-- Only a session that has met such a message queries them, for a minute.
create or replace function messenger.messages_set_aside(at timestamptz)
returns uuid[]
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_until numeric := nullif(current_setting('messenger.leaves_out_until', true), '')::numeric;
begin
  if extract(epoch from at) between v_until - 60 and v_until then
    return array(
      select (s.row_id::jsonb ->> 'id')::uuid from messenger.set_aside s
      where s.step = 'claim' and s.object = 'public.messenger_messages' and s.retry_at > messages_set_aside.at
      order by s.at desc limit 1000);
  end if;
  return null;
end $$;

-- Each in a subtransaction of its own, so that one row that cannot be written does not keep the others from finishing.
create or replace function messenger.finish_undeliverable_singly(ids uuid[], dispositions text[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  for v_index in 1..cardinality(ids) loop
    begin
      perform messenger.finish_undeliverable(ids[v_index:v_index], dispositions[v_index:v_index], at);
      perform messenger.check_deferred(at);
    exception when others then
      if not messenger.is_row_error(sqlstate) then
        raise;
      end if;
      perform messenger.set_message_aside(ids[v_index], sqlerrm, sqlstate, at);
    end;
  end loop;
end $$;

comment on function messenger.is_row_error(text) is
  'Whether an error with this SQLSTATE may be due to the written row; false for errors of the connection, the server '
  'and lost races.';
comment on function messenger.check_deferred(timestamptz) is
  'Checks the deferred constraints of the project on messenger_messages and messenger_failed_messages now.';
comment on function messenger.set_message_aside(uuid, text, text, timestamptz) is
  'Keeps a message whose row cannot be written out of claims for a minute or more, and records the error.';
comment on function messenger.messages_set_aside(timestamptz) is
  'Ids of the messages that claims of this session leave out now; null: none.';
comment on function messenger.finish_undeliverable_singly(uuid[], text[], timestamptz) is
  'As messenger.finish_undeliverable, one message at a time; messages that cannot be written are set aside.';
revoke all on function
  messenger.is_row_error(text),
  messenger.check_deferred(timestamptz),
  messenger.set_message_aside(uuid, text, text, timestamptz),
  messenger.messages_set_aside(timestamptz),
  messenger.finish_undeliverable_singly(uuid[], text[], timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.is_row_error(text),
  messenger.check_deferred(timestamptz),
  messenger.set_message_aside(uuid, text, text, timestamptz),
  messenger.messages_set_aside(timestamptz),
  messenger.finish_undeliverable_singly(uuid[], text[], timestamptz)
to service_role;
