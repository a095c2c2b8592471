-- Lists queues with the numbers of their messages, and workers with the queues they poll.

-- As messenger.due_queues, which finds the queues with due messages among thousands in 30 ms, but always all of them: a
-- session that also ticks continues its own scan.
create or replace function messenger.all_due_queues(
  at timestamptz, only_transport text default null, only_queues text[] default null
)
returns table (transport_name text, queue_name text)
language sql
set search_path = pg_catalog, pg_temp
as $$
  select q.transport_name, q.queue_name
  from public.messenger_transports t
  cross join lateral messenger.due_queues(at, t.name, only_queues, halted => true, max_queues => 1000000) q
  where only_transport is null or t.name = only_transport
$$;

-- A processing message stays at the front of its queue in the index, so only the
-- first entries of each queue and priority are read.
create or replace function messenger.running_messages(
  depth int, only_transport text default null, only_queues text[] default null
)
returns table (transport_name text, queue_name text, locked_by text)
language sql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
  select q.transport_name, q.queue_name, head.locked_by
  from messenger.all_due_queues(messenger.now(), only_transport, only_queues) q
  cross join generate_series(1, 10) as level(priority)
  cross join lateral (
    select m.locked_by from public.messenger_messages m
    where m.transport_name = q.transport_name and m.queue_name = q.queue_name and m.priority = level.priority
      and m.processed_at is null
      and m.available_at <= messenger.now()
    order by m.available_at, m.id limit depth
  ) head
  where head.locked_by is not null
$$;

create or replace function messenger.queue_figures_of(transport text, queue text)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_now timestamptz := messenger.now();
  v_seen record;
  v_all bigint;
  v_due bigint;
  v_blocked bigint;
  v_oldest timestamptz;
  v_args jsonb := jsonb_build_object('transport', transport, 'queue', queue, 'now', v_now);
  v_rows text := 'select from public.messenger_messages m where m.transport_name = $1 ->> ''transport'' and '
    'm.queue_name = $1 ->> ''queue'' and m.processed_at is null';
begin
  select count(*) as n, count(*) filter (where m.status = 'processing') as processing, count(*)
    filter (where m.available_at = 'infinity') as blocked,
    count(*) filter (where m.status = 'pending' and m.available_at <= v_now) as due
  into v_seen
  from (
    select m.status, m.available_at from public.messenger_messages m
    where m.transport_name = queue_figures_of.transport and m.queue_name = queue_figures_of.queue
      and m.processed_at is null limit 10001
  ) m;
  select min(head.available_at) into v_oldest
  from generate_series(1, 10) as level(priority)
  cross join lateral (
    select m.available_at from public.messenger_messages m
    where m.transport_name = queue_figures_of.transport and m.queue_name = queue_figures_of.queue
      and m.priority = level.priority and m.processed_at is null
      and m.available_at <= v_now and m.status = 'pending'
    order by m.available_at, m.id limit 1
  ) head;
  if v_seen.n > 10000 then
    v_blocked := (select count(*) from (
      select from public.messenger_messages m where m.transport_name = queue_figures_of.transport
        and m.queue_name = queue_figures_of.queue
        and m.ordering_key is not null and m.processed_at is null and m.available_at = 'infinity' limit 10001) x);
    v_seen.processing := (select count(*)
      from messenger.running_messages(1000, queue_figures_of.transport, array[queue_figures_of.queue]));
    v_all := greatest(v_seen.n, v_seen.due + v_blocked + v_seen.processing, messenger.estimate_rows(v_rows, v_args));
    -- Processing messages were due.
    v_due := messenger.estimate_rows(v_rows || ' and m.available_at <= ($1 ->> ''now'')::timestamptz', v_args)
      - v_seen.processing;
    v_due := greatest(v_seen.due, least(v_due, v_all - v_blocked - v_seen.processing));
  else
    v_all := v_seen.n;
    v_due := v_seen.due;
    v_blocked := v_seen.blocked;
  end if;
  return jsonb_build_object('pending', v_all - v_seen.processing, 'due', v_due, 'delayed',
    greatest(0, v_all - v_seen.processing - v_due - v_blocked),
    'blocked', v_blocked, 'processing', v_seen.processing, 'oldest_due_at', v_oldest, 'estimated', v_seen.n > 10000);
end $$;

create or replace function messenger.has_many_queues()
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
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
  select count(*) > 64 from (select from pair limit 65) p
$$;

-- With many queues one scan of the unfinished messages is faster than a call per queue: 0.1 s against 1 s for 100,000
-- messages in 5,000 queues.
create or replace function messenger.figures_by_queue(at timestamptz)
returns table (transport_name text, queue_name text, figures jsonb)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set max_parallel_workers_per_gather = 0
set jit = off
as $$
#variable_conflict use_column
begin
  if messenger.has_many_queues()
    and messenger.estimate_rows('select from public.messenger_messages m where m.processed_at is null') < 1000000 then
    return query
    select q.transport_name, q.queue_name, jsonb_build_object('pending', q.n - q.processing, 'due', q.due,
      'delayed', q.n - q.processing - q.due - q.blocked, 'blocked', q.blocked, 'processing', q.processing,
      'oldest_due_at', q.oldest_due_at, 'estimated', false)
    from (
      select m.transport_name, m.queue_name, count(*) as n,
        count(*) filter (where m.status = 'processing') as processing,
        count(*) filter (where m.available_at = 'infinity') as blocked,
        count(*) filter (where m.status = 'pending' and m.available_at <= figures_by_queue.at) as due,
        min(m.available_at) filter (where m.status = 'pending' and m.available_at <= figures_by_queue.at)
          as oldest_due_at
      from public.messenger_messages m
      where m.processed_at is null
      group by m.transport_name, m.queue_name
    ) q
    join public.messenger_transports t on t.name = q.transport_name and t.type in ('supabase', 'sync');
  else
    return query
    select a.transport_name, a.queue_name, messenger.queue_figures_of(a.transport_name, a.queue_name)
    from messenger.active_queues(null, null, true) a;
  end if;
end $$;

-- The planner overestimates the cost of functions and would compile the plan with JIT, for half a second.
create or replace function public.messenger_list_queues()
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_now timestamptz := messenger.now();
begin
  -- First, because a replica cannot even plan a query of an unlogged table.
  perform messenger.require_primary();
  return (
    with queue as materialized (
      select coalesce(f.transport_name, p.transport_name) as transport_name,
        coalesce(f.queue_name, p.queue_name) as queue_name, p.queue_name as recorded_name, p.paused_at,
        coalesce(f.figures, messenger.queue_figures_of(p.transport_name, p.queue_name)) as figures
      from messenger.figures_by_queue(v_now) f
      full join messenger.queues p on p.transport_name = f.transport_name and p.queue_name = f.queue_name
      where f.queue_name is not null or p.paused_at is not null
    ),
    -- The queues of a transport that were never paused have one moment in common.
    run as materialized (
      select d.*, messenger.runs_since(d.transport_name, d.recorded_name, v_now) as runs_since
      from (select distinct q.transport_name, q.recorded_name from queue q) d
    ),
    worker as materialized (
      select w.transport_name, w.queues from messenger.workers w left join messenger.settings s on true
      where (w.polled_at > v_now - greatest(2 * s.poll_interval, '1 second') or w.active_until > v_now)
        and w.polled_at <= v_now
    )
    select jsonb_build_object('queues', coalesce(jsonb_agg(
      jsonb_build_object('transport_name', q.transport_name, 'queue_name', q.queue_name, 'paused_at', q.paused_at,
        'transport_enabled', t.enabled,
        'runs_since', r.runs_since,
        'awake_workers', (
          select count(*) from worker w
          where (w.transport_name is null or w.transport_name = q.transport_name)
            and (w.queues is null or q.queue_name = any (w.queues))))
      || q.figures order by q.transport_name, q.queue_name), '[]'))
    from queue q
    join run r on r.transport_name = q.transport_name and r.recorded_name is not distinct from q.recorded_name
    left join public.messenger_transports t on t.name = q.transport_name
  );
end $$;

create or replace function public.messenger_list_workers()
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  -- First, because a replica cannot even plan a query of an unlogged table.
  perform messenger.require_primary();
  return (
    select jsonb_build_object('workers', coalesce(jsonb_agg(
      to_jsonb(w) || jsonb_build_object(
        'awake', greatest(w.polled_at + greatest(2 * s.poll_interval, '1 second'), w.active_until) > messenger.now(),
        'processing', coalesce(r.n, 0))
      order by w.polled_at desc, w.worker), '[]'))
    from messenger.workers w left join messenger.settings s on true
    left join (select m.locked_by, count(*) as n from messenger.running_messages(1000) m group by m.locked_by) r
      on r.locked_by = w.worker
    where w.polled_at > messenger.now() - interval '1 hour'
  );
end $$;

comment on function messenger.all_due_queues(timestamptz, text, text[]) is
  'Queues that hold a due message, paused ones and those of disabled transports included.';
comment on function messenger.has_many_queues() is 'Whether more than 64 queues hold unfinished messages.';
comment on function messenger.figures_by_queue(timestamptz) is
  'The queues with unfinished messages, each with figures as of messenger.queue_figures_of.';
comment on function messenger.running_messages(int, text, text[]) is
  'Messages that are being processed, among the first depth entries of each queue and priority.';
comment on function messenger.queue_figures_of(text, text) is
  'Unfinished messages of a queue: {"pending" (due + delayed + blocked), "due", "delayed", "blocked" (waiting for '
  'their predecessor), "processing", "oldest_due_at", "estimated"}; exact up to 10,000.';
comment on function public.messenger_list_queues() is
  'Queues that have unfinished messages or are paused: {"queues": [{transport_name, queue_name, paused_at, '
  'transport_enabled, runs_since (when the queue was last resumed or its transport last changed), pending, due, '
  'delayed, blocked, processing, oldest_due_at, estimated, awake_workers (active workers)}]}. Raises SM_UNAVAILABLE on '
  'a read replica. Example: select messenger_list_queues() -> ''queues'';';
comment on function public.messenger_list_workers() is
  'Workers that polled within the last hour, the latest first: {"workers": [{worker, transport_name, queues, types '
  '(null: all), started_at, polled_at, active_until (null: waits for no message), awake (true: active), '
  'processing}]}. Raises SM_UNAVAILABLE on a read replica. '
  'Example: select messenger_list_workers() -> ''workers'';';
revoke all on function
  messenger.all_due_queues(timestamptz, text, text[]),
  messenger.has_many_queues(),
  messenger.figures_by_queue(timestamptz),
  messenger.running_messages(int, text, text[]),
  messenger.queue_figures_of(text, text),
  public.messenger_list_queues(),
  public.messenger_list_workers()
from public, anon, authenticated;
grant execute on function
  messenger.all_due_queues(timestamptz, text, text[]),
  messenger.has_many_queues(),
  messenger.figures_by_queue(timestamptz),
  messenger.running_messages(int, text, text[]),
  messenger.queue_figures_of(text, text),
  public.messenger_list_queues(),
  public.messenger_list_workers()
to service_role;
