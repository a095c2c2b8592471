-- Pauses and resumes a queue. In a paused queue nothing is handed out;
-- running handlers finish and dispatches are stored.
create or replace function messenger.check_queue(transport text, queue text)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from public.messenger_transports t where t.name = check_queue.transport) then
    perform messenger.raise_error('SM_TRANSPORT', quote_ident(left(transport, 100)));
  elsif queue is null or queue !~ '^[a-z0-9][a-z0-9_-]{0,62}$' then
    perform messenger.raise_error('SM_QUEUE', quote_ident(left(queue, 100)));
  end if;
end $$;

create or replace function public.messenger_pause(transport text, queue text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform messenger.require_writable();
  perform messenger.check_queue(transport, queue);
  insert into messenger.queues as q (transport_name, queue_name, paused_at)
  values (messenger_pause.transport, messenger_pause.queue, messenger.now())
  on conflict on constraint queues_pkey do update set paused_at = excluded.paused_at where q.paused_at is null;
  return found;
end $$;

create or replace function public.messenger_resume(transport text, queue text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform messenger.require_writable();
  perform messenger.check_queue(transport, queue);
  update messenger.queues q set paused_at = null, resumed_at = messenger.now()
  where q.transport_name = messenger_resume.transport and q.queue_name = messenger_resume.queue
    and q.paused_at is not null;
  return found;
end $$;

-- Nothing in a paused queue or disabled transport could be claimed before this moment. Timestamps in the future,
-- written before the database clock was set back, are ignored.
create or replace function messenger.runs_since(transport text, queue text, at timestamptz)
returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select greatest(
    case when t.updated_at <= runs_since.at then t.updated_at end,
    (select q.resumed_at from messenger.queues q where q.transport_name = t.name and q.queue_name = runs_since.queue
      and q.resumed_at <= runs_since.at))
  from public.messenger_transports t where t.name = runs_since.transport
$$;

comment on function messenger.check_queue(text, text) is
  'Raises SM_TRANSPORT if the transport does not exist, SM_QUEUE if the queue name is malformed.';
comment on function messenger.runs_since(text, text, timestamptz) is
  'The later of the moments when the queue was last resumed and its transport last changed; null if neither is on '
  'record. Messages cannot have been overdue before it.';
comment on function public.messenger_pause(text, text) is
  'Pauses a queue: from the commit on, none of its messages are handed out. Running handlers finish, expired leases '
  'are counted, and dispatches are stored. Returns true, or false if the queue was already paused. Raises '
  'SM_TRANSPORT, SM_QUEUE. Example: select messenger_pause(''supabase'', ''email'');';
comment on function public.messenger_resume(text, text) is
  'Resumes a paused queue: active workers find it with their next poll, and the ticker wakes others within a second. '
  'Returns true, or false if the queue was not paused. Raises SM_TRANSPORT, SM_QUEUE. Example: select '
  'messenger_resume(''supabase'', ''email'');';
revoke all on function
  messenger.check_queue(text, text),
  messenger.runs_since(text, text, timestamptz),
  public.messenger_pause(text, text),
  public.messenger_resume(text, text)
from public, anon, authenticated;
grant execute on function
  messenger.check_queue(text, text),
  messenger.runs_since(text, text, timestamptz),
  public.messenger_pause(text, text),
  public.messenger_resume(text, text)
to service_role;
