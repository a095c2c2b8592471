-- Claiming: a worker takes due messages under a lease with a fence, and keeps the lease by heartbeats.

-- Every (transport, queue) with an unfinished message that workers may take, by a skip scan of the hot index: one probe a queue, however long it is.
-- From the end of the index: entries of finished messages, which stay while some transaction holds a snapshot, lie at the beginning of their
-- queue, and a scan from there walked them all (77 ms beside 60,000, against 0.4 ms from the end).
create or replace function messenger.active_queues(only_transport text, only_queues text[])
returns table (transport_name text, queue_name text)
language plpgsql stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  with recursive pair as (
    (select m.transport_name, m.queue_name from public.messenger_messages m where m.processed_at is null
     order by m.transport_name desc, m.queue_name desc limit 1)
    union all
    select n.transport_name, n.queue_name
    from pair p
    cross join lateral (
      select m.transport_name, m.queue_name from public.messenger_messages m
      where m.processed_at is null and (m.transport_name, m.queue_name) < (p.transport_name, p.queue_name)
      order by m.transport_name desc, m.queue_name desc limit 1
    ) n
  )
  select p.transport_name, p.queue_name
  from pair p
  join public.messenger_transports t on t.name = p.transport_name and t.enabled and t.type in ('supabase', 'sync')
  where (only_transport is null or p.transport_name = only_transport) and (only_queues is null or p.queue_name = any (only_queues));
end $$;

-- Like active_queues, but a session that had to look long (all messages finished, their index entries held by a snapshot) does not look again for
-- twice as long, a second at most; a queue that fills meanwhile waits so long for this session. Long is what the setting messenger.queues_after
-- says, 5 ms unless set. Only twice, because a busy machine is slow too, and an idle worker must not miss a message for long on its account.
create or replace function messenger.known_queues(only_transport text, only_queues text[], at timestamptz)
returns table (transport_name text, queue_name text)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_setting text := 'messenger.queues_' || replace(hashtextextended(concat_ws('/', only_transport, only_queues::text), 0)::text, '-', 'n');
  v_text text := current_setting(v_setting, true);
  v_known jsonb;
  v_started timestamptz := clock_timestamp();
  v_took interval;
begin
  if v_text <> '' then
    v_known := v_text::jsonb;
    if at between (v_known ->> 'from')::timestamptz and (v_known ->> 'until')::timestamptz then
      return query select q ->> 0, q ->> 1 from jsonb_array_elements(v_known -> 'queues') q order by random();
      return;
    end if;
  end if;
  select jsonb_agg(jsonb_build_array(a.transport_name, a.queue_name)) into v_known from messenger.active_queues(only_transport, only_queues) a;
  v_took := clock_timestamp() - v_started;
  if v_took > coalesce(nullif(current_setting('messenger.queues_after', true), ''), '5 milliseconds')::interval
      + coalesce(jsonb_array_length(v_known), 0) * interval '50 microseconds' then
    perform set_config(v_setting,
      jsonb_build_object('from', at, 'until', at + least(interval '1 second', 2 * v_took), 'queues', coalesce(v_known, '[]'))::text, false);
  end if;
  return query select q ->> 0, q ->> 1 from jsonb_array_elements(v_known) q order by random();
end $$;

create or replace function messenger.check_claim(worker text, lease interval)
returns void
language plpgsql immutable
set search_path = ''
as $$
begin
  if worker is null or length(worker) not between 1 and 200 then
    perform messenger.refuse('SM_WORKER');
  elsif lease <= '0' or lease > '12 hours' then
    perform messenger.refuse('SM_LEASE');
  end if;
end $$;

-- A worker is awake while it polls. Fifty polls a second need not all be written; the row is only ever touched by its own worker.
create or replace function messenger.note_poll(worker text, transport text, queues text[], types text[], at timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_known messenger.workers;
begin
  select * into v_known from messenger.workers w where w.worker = note_poll.worker;
  if not found then
    insert into messenger.workers values (note_poll.worker, note_poll.transport, note_poll.queues, note_poll.types, note_poll.at, note_poll.at)
    on conflict on constraint workers_pkey do nothing;
  elsif v_known.polled_at not between note_poll.at - interval '20 ms' and note_poll.at
    or (v_known.transport_name, v_known.queues, v_known.types) is distinct from (note_poll.transport, note_poll.queues, note_poll.types) then
    update messenger.workers w
    set polled_at = note_poll.at, transport_name = note_poll.transport, queues = note_poll.queues, types = note_poll.types
    where w.worker = note_poll.worker;
  end if;
end $$;

create or replace function public.messenger_claim(
  worker text, batch int default 10, lease interval default '60 s', transport text default null, queues text[] default null, types text[] default null
)
returns table (
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int, max_retries int, fence bigint,
  lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_batch int := coalesce(batch, 10);
  v_lease interval := coalesce(lease, '60 s');
  v_worker text := worker;
  v_types text[] := types;
  v_pair record;
  v_found boolean := false;
begin
  perform messenger.check_claim(worker, v_lease);
  if v_batch not between 1 and 1000 then
    perform messenger.refuse('SM_BATCH');
  elsif transport is not null and not exists (select from public.messenger_transports t where t.name = messenger_claim.transport) then
    perform messenger.refuse('SM_TRANSPORT', quote_ident(left(transport, 100)));
  end if;
  perform messenger.note_poll(worker, transport, queues, types, v_now);

  -- In random order, so that no queue waits behind another that is never empty.
  for v_pair in select * from messenger.known_queues(transport, queues, v_now) loop
    for id, message_type, queue_name, body, headers, metadata, priority, retry_count, max_retries, fence, lock_expires_at, created_at, solo in
      select * from messenger.claim_queue(v_pair.transport_name, v_pair.queue_name, v_batch, v_worker, v_lease, v_types, v_now, not v_found)
    loop
      return next;
      v_found := true;
      v_batch := v_batch - 1;
    end loop;
    exit when v_batch = 0 or solo;
  end loop;
end $$;

-- For a door that handles a message where it is dispatched: takes this one, due or not, unless somebody else has it.
create or replace function messenger.claim_one(message_id uuid, worker text, lease interval)
returns table (
  id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int, max_retries int, fence bigint,
  lock_expires_at timestamptz, created_at timestamptz, solo boolean
)
language plpgsql
set search_path = ''
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
set search_path = ''
as $$ select * from messenger.claim_one(id, worker, lease) $$;

create or replace function public.messenger_heartbeat(leases jsonb, lease interval default '60 s')
returns table (id uuid, outcome text, cancel_requested boolean)
language plpgsql
set search_path = ''
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

comment on function messenger.active_queues(text, text[]) is 'Transports and queues with unfinished messages that workers may take.';
comment on function messenger.known_queues(text, text[], timestamptz) is 'The active queues in random order, at most a second old where finding them took long.';
comment on function messenger.check_claim(text, interval) is 'Refuses a worker name or lease that is out of bounds.';
comment on function messenger.note_poll(text, text, text[], text[], timestamptz) is 'Records that this worker is awake.';
comment on function public.messenger_claim(text, int, interval, text, text[], text[]) is
  'Takes up to batch (1-1000) due messages for a worker under a lease (up to 12 hours). Null transport, queues or types mean all. fence must accompany every verdict. solo: the only row of its claim, to be run with nothing else in flight.';
comment on function messenger.claim_one(uuid, text, interval) is 'See public.messenger_claim_one.';
comment on function public.messenger_claim_one(uuid, text, interval) is
  'Takes one pending message by id, due or not, for the caller that has just dispatched it. No row when another worker has it or it is finished.';
comment on function public.messenger_heartbeat(jsonb, interval) is
  'Extends the leases [{"id", "fence", "progress"?}] to now + lease and stores progress. extended or stale; cancel_requested tells the handler to stop.';
revoke all on function messenger.active_queues(text, text[]), messenger.known_queues(text, text[], timestamptz), messenger.check_claim(text, interval), messenger.note_poll(text, text, text[], text[], timestamptz),
  messenger.claim_one(uuid, text, interval),
  public.messenger_claim(text, int, interval, text, text[], text[]), public.messenger_claim_one(uuid, text, interval),
  public.messenger_heartbeat(jsonb, interval) from public, anon, authenticated;
grant execute on function messenger.active_queues(text, text[]), messenger.known_queues(text, text[], timestamptz), messenger.check_claim(text, interval), messenger.note_poll(text, text, text[], text[], timestamptz),
  messenger.claim_one(uuid, text, interval),
  public.messenger_claim(text, int, interval, text, text[], text[]), public.messenger_claim_one(uuid, text, interval),
  public.messenger_heartbeat(jsonb, interval) to service_role;
