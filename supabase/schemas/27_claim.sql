-- Claiming: a worker takes due messages under a lease with a fence, and keeps the lease by heartbeats.

-- An array prints without quotes what is a queue's name, but for the word null.
create or replace function messenger.check_claim(worker text, lease interval, queues text[] default null)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if worker is null or length(worker) not between 1 and 200 or worker ~ '[\x01-\x1f\x7f]' then
    perform messenger.refuse('SM_WORKER');
  elsif queues::text !~ '^\{(([a-z0-9][a-z0-9_-]{0,62}|"null")(,([a-z0-9][a-z0-9_-]{0,62}|"null"))*)?\}$' then
    perform messenger.refuse('SM_QUEUE', (
      select format('queues: "%s"', left(q.name, 100)) from unnest(queues) q(name)
      where q.name !~ '^[a-z0-9][a-z0-9_-]{0,62}$' or q.name is null limit 1));
  elsif lease <= '0' or lease > '12 hours' then
    perform messenger.refuse('SM_LEASE');
  end if;
end $$;

-- A worker is awake while it polls. Fifty polls a second need not all be written, nor the row be looked at by a session that has just written it;
-- the row is only ever touched by its own worker.
create or replace function messenger.note_poll(worker text, transport text, queues text[], types text[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_poll text := concat_ws('|', worker, transport, queues::text, types::text);
  v_noted text := current_setting('messenger.polled', true);
begin
  if split_part(v_noted, '|', 2) = md5(v_poll) and at between split_part(v_noted, '|', 1)::timestamptz and split_part(v_noted, '|', 1)::timestamptz + interval '20 ms' then
    return;
  end if;
  insert into messenger.workers as w values (note_poll.worker, note_poll.transport, note_poll.queues, note_poll.types, note_poll.at, note_poll.at)
  on conflict on constraint workers_pkey do update
  set polled_at = excluded.polled_at, transport_name = excluded.transport_name, queues = excluded.queues, types = excluded.types;
  perform set_config('messenger.polled', at || '|' || md5(v_poll), false);
end $$;

create or replace function public.messenger_claim(
  worker text, batch int default 10, lease interval default '60 s', transport text default null, queues text[] default null, types text[] default null
)
returns table (
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int, max_retries int, fence bigint,
  lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_batch int := coalesce(batch, 10);
  v_lease interval := coalesce(lease, '60 s');
  v_worker text := worker;
  v_queue text;
  v_visited text[] := '{}'::text[];
  v_due record;
  v_places tid[] := '{}'::tid[];
begin
  perform messenger.check_claim(worker, v_lease, queues);
  if v_batch not between 1 and 1000 then
    perform messenger.refuse('SM_BATCH');
  elsif transport is not null and not exists (select from public.messenger_transports t where t.name = messenger_claim.transport) then
    perform messenger.refuse('SM_TRANSPORT', quote_ident(left(transport, 100)));
  end if;
  perform messenger.note_poll(worker, transport, queues, types, v_now);

  <<looks>>
  for v_look in 1..2 loop
    foreach v_queue in array messenger.known_queues(transport, queues, v_look = 2, v_now, messenger_claim.types) loop
      continue when v_queue = any (v_visited);
      v_visited := v_visited || v_queue;
      v_due := messenger.find_due(split_part(v_queue, '/', 1), split_part(v_queue, '/', 2), v_batch - cardinality(v_places), messenger_claim.types, v_now, v_places = '{}');
      v_places := v_places || v_due.places;
      exit looks when v_due.is_solo or cardinality(v_places) = v_batch;
    end loop;
  end loop;
  if v_places = '{}' then
    return;
  end if;

  return query
  with taken as (
    update public.messenger_messages m
    set status = 'processing', fence = m.fence + 1, locked_at = v_now, locked_by = v_worker, lock_expires_at = v_now + v_lease, updated_at = v_now,
        retry_count = m.retry_count + (m.status = 'processing')::int, lease_losses = m.lease_losses + (m.status = 'processing')::int
    where m.ctid = any (v_places)
    returning m.id, m.message_type, m.queue_name, m.body, m.headers, m.metadata, m.priority, m.retry_count, m.max_retries, m.fence, m.lock_expires_at, m.created_at,
      m.lease_losses > 0 as solo, m.available_at
  )
  select t.id, t.message_type, t.queue_name, t.body, t.headers, t.metadata, t.priority, t.retry_count, t.max_retries, t.fence, t.lock_expires_at, t.created_at, t.solo
  from taken t
  order by t.priority desc, t.available_at, t.id;
end $$;

-- For a door that handles a message where it is dispatched: takes this one, due or not, unless somebody else has it.
create or replace function messenger.claim_one(message_id uuid, worker text, lease interval)
returns table (
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int, max_retries int, fence bigint,
  lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_worker text := worker;
  v_lease interval := coalesce(lease, '60 s');
begin
  perform messenger.check_claim(worker, v_lease);
  return query
  update public.messenger_messages m
  set status = 'processing', fence = m.fence + 1, locked_at = v_now, locked_by = v_worker, lock_expires_at = v_now + v_lease, updated_at = v_now
  where m.id = message_id and m.status = 'pending' and m.available_at < 'infinity' and (m.expires_at is null or m.expires_at > v_now)
  returning m.id, m.message_type, m.queue_name, m.body, m.headers, m.metadata, m.priority, m.retry_count, m.max_retries, m.fence, m.lock_expires_at, m.created_at,
    m.lease_losses > 0;
end $$;

create or replace function public.messenger_claim_one(id uuid, worker text, lease interval default '60 s')
returns table (
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int, max_retries int, fence bigint,
  lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language sql
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.claim_one(id, worker, lease) $$;

create or replace function public.messenger_heartbeat(leases jsonb, lease interval default '60 s')
returns table (id uuid, outcome text, cancel_requested boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_leases jsonb := leases;
  v_lease interval := coalesce(lease, '60 s');
  v_now timestamptz := messenger.now();
begin
  if v_leases is null or jsonb_typeof(v_leases) <> 'array' then
    perform messenger.refuse('SM_LEASE', 'leases must be a JSON array of {"id", "fence", "progress"?}');
  elsif jsonb_array_length(v_leases) > 1000 then
    perform messenger.refuse('SM_BATCH_TOO_LARGE');
  elsif v_lease <= '0' or v_lease > '12 hours' or exists (select from jsonb_array_elements(v_leases) e where jsonb_typeof(e) <> 'object') then
    perform messenger.refuse('SM_LEASE');
  end if;

  return query
  with given as materialized (
    select row_number() over () as ord, g.id, g.fence, messenger.keep_small(g.progress) as progress
    from jsonb_to_recordset(v_leases) as g(id uuid, fence bigint, progress jsonb)
  ),
  -- A lease that ran out but was not taken over is still current.
  held as materialized (
    select m.id, m.fence from public.messenger_messages m
    where m.id = any (array(select g.id from given g)) and m.status = 'processing'
    order by m.id
    for update
  ),
  extended as (
    update public.messenger_messages m
    set lock_expires_at = v_now + v_lease, updated_at = v_now, progress = coalesce(g.progress, m.progress)
    from given g join held h on h.id = g.id and h.fence = g.fence
    where m.id = g.id
    returning m.id, m.fence, m.cancel_requested_at is not null as cancel_requested
  )
  select g.id, case when e.id is null then 'stale' else 'extended' end, coalesce(e.cancel_requested, false)
  from given g left join extended e on e.id = g.id and e.fence = g.fence
  order by g.ord;
end $$;

comment on function messenger.check_claim(text, interval, text[]) is 'Rejects the name of a worker or a queue that is malformed, and a lease that is out of bounds.';
comment on function messenger.note_poll(text, text, text[], text[], timestamptz) is 'Records that this worker is awake.';
comment on function public.messenger_claim(text, int, interval, text, text[], text[]) is
  'Takes up to batch (1-1000) due messages for a worker under a lease (up to 12 hours). Null transport, queues or types mean all. fence must accompany every verdict. solo: the only row of its claim, to be run with nothing else in flight.';
comment on function messenger.claim_one(uuid, text, interval) is 'See public.messenger_claim_one.';
comment on function public.messenger_claim_one(uuid, text, interval) is
  'Takes one pending message by id, due or not, for the caller that has just dispatched it. No row when another worker has it or it is finished.';
comment on function public.messenger_heartbeat(jsonb, interval) is
  'Extends the leases [{"id", "fence", "progress"?}] to now + lease and stores progress. extended or stale; cancel_requested tells the handler to stop.';
revoke all on function messenger.check_claim(text, interval, text[]), messenger.note_poll(text, text, text[], text[], timestamptz),
  messenger.claim_one(uuid, text, interval),
  public.messenger_claim(text, int, interval, text, text[], text[]), public.messenger_claim_one(uuid, text, interval),
  public.messenger_heartbeat(jsonb, interval) from public, anon, authenticated;
grant execute on function messenger.check_claim(text, interval, text[]), messenger.note_poll(text, text, text[], text[], timestamptz),
  messenger.claim_one(uuid, text, interval),
  public.messenger_claim(text, int, interval, text, text[], text[]), public.messenger_claim_one(uuid, text, interval),
  public.messenger_heartbeat(jsonb, interval) to service_role;
