-- Lists queues with the numbers of their messages, and workers with the queues they poll.

-- A processing message stays at the front of its queue in the index, so only the
-- first entries of each queue and priority are read.
create or replace function messenger.running_messages(
  depth int, only_transport text default null, only_queues text[] default null
)
returns table (transport_name text, queue_name text, locked_by text)
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
  select q.transport_name, q.queue_name, head.locked_by
  from messenger.active_queues(only_transport, only_queues, true) q
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

-- The planner overestimates the cost of functions and would compile the plan with JIT, for half a second.
create or replace function public.messenger_list_queues()
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  -- First, because a replica cannot even plan a query of an unlogged table.
  perform messenger.require_primary();
  return (
    select jsonb_build_object('queues', coalesce(jsonb_agg(
      jsonb_build_object('transport_name', q.transport_name, 'queue_name', q.queue_name, 'paused_at', p.paused_at,
        'transport_enabled', t.enabled,
        'runs_since', messenger.runs_since(q.transport_name, q.queue_name, messenger.now()),
        'awake_workers', (
          select count(*) from messenger.workers w left join messenger.settings s on true
          where (w.polled_at > messenger.now() - greatest(2 * s.poll_interval, '1 second')
              or w.active_until > messenger.now())
            and w.polled_at <= messenger.now()
            and (w.transport_name is null or w.transport_name = q.transport_name)
            and (w.queues is null or q.queue_name = any (w.queues))))
      || messenger.queue_figures_of(q.transport_name, q.queue_name) order by q.transport_name, q.queue_name), '[]'))
    from (
      select a.transport_name, a.queue_name from messenger.active_queues(null, null, true) a
      union
      select p.transport_name, p.queue_name from messenger.queues p where p.paused_at is not null
    ) q
    left join messenger.queues p on p.transport_name = q.transport_name and p.queue_name = q.queue_name
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
  messenger.running_messages(int, text, text[]),
  messenger.queue_figures_of(text, text),
  public.messenger_list_queues(),
  public.messenger_list_workers()
from public, anon, authenticated;
grant execute on function
  messenger.running_messages(int, text, text[]),
  messenger.queue_figures_of(text, text),
  public.messenger_list_queues(),
  public.messenger_list_workers()
to service_role;
