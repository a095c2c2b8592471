-- Status: the numbers of messages, dead letters, workers. Exact up to ten thousand and estimated
-- above, so that it may be polled every second.

-- Unfinished messages are counted in the hot index, which has no others;
-- finished ones are counted only if that is cheap.
create or replace function messenger.queue_figures()
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_now timestamptz := messenger.now();
  v_depth bigint;
  v_processing bigint;
  v_completed record;
  v_failed record;
  v_estimated boolean;
begin
  select count(*), count(*) filter (where x.status = 'processing') into v_depth, v_processing
  from (select m.status from public.messenger_messages m where m.processed_at is null limit 10001) x;
  v_estimated := v_depth > 10000;
  if v_estimated then
    v_depth := greatest(
      v_depth, messenger.estimate_rows('select from public.messenger_messages m where m.processed_at is null'));
    -- A processing message was claimed from the front of its queue and stays there in the index.
    select count(*) filter (where head.status = 'processing') into v_processing
    from (select d.*, count(*) over () as pairs from messenger.all_due_queues(v_now) d) q
    cross join generate_series(1, 10) as level(priority)
    cross join lateral (
      select m.status from public.messenger_messages m
      where m.transport_name = q.transport_name and m.queue_name = q.queue_name and m.priority = level.priority
        and m.processed_at is null
        and m.available_at <= v_now
      order by m.available_at, m.id
      limit greatest(10, 1000 / q.pairs)
    ) head;
  end if;
  select * into v_completed
  from messenger.count_rows('select from public.messenger_messages m where m.status = ''completed''');
  select * into v_failed
  from messenger.count_rows('select from public.messenger_messages m where m.status = ''failed''');
  return jsonb_build_object('depth', v_depth, 'pending', v_depth - v_processing, 'processing', v_processing,
    'completed', v_completed.n,
    'failed', v_failed.n, 'estimated', v_estimated or v_completed.estimated or v_failed.estimated);
end $$;

create or replace function messenger.status()
returns jsonb
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'queue', messenger.queue_figures(),
    'dead_letters',
    (select c.n
      from messenger.count_rows('select from public.messenger_failed_messages f where f.resolved_at is null') c),
    'transports',
    (select jsonb_agg(jsonb_build_object('name', t.name, 'type', t.type, 'enabled', t.enabled) order by t.name)
      from public.messenger_transports t),
    'workers', (
      select coalesce(jsonb_agg(jsonb_build_object('worker', w.worker, 'started_at', w.started_at, 'polled_at',
        w.polled_at) order by w.polled_at desc), '[]')
      from messenger.workers w where w.polled_at > messenger.now() - interval '1 minute'
    ),
    'clock', (select jsonb_build_object('enabled', coalesce(s.clock_enabled, false), 'last_tick_at', c.last_tick_at,
      'ticks', c.ticks, 'last_error', c.last_error, 'last_error_at', c.last_error_at)
              from (select) one left join messenger.settings s on true left join messenger.clock c on true),
    'replays', (
      select coalesce(jsonb_agg(to_jsonb(r)), '[]') from messenger.replay_report() r
      where coalesce(r.finished_at, messenger.now()) > messenger.now() - interval '1 day'
    ),
    'functions_url', (select s.functions_url from messenger.settings s),
    'pruned', (select coalesce(sum(p.message_count), 0) from messenger.pruned p),
    'timestamp', messenger.now()
  )
$$;

create or replace function public.messenger_status()
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.status() where messenger.require_primary() $$;

comment on function messenger.queue_figures() is
  'Messages by state: {"depth" (unfinished), "pending", "processing", "completed", "failed", '
  '"estimated"}; exact if none of them is above 10,000.';
comment on function messenger.status() is 'See public.messenger_status.';
comment on function public.messenger_status() is
  'The state of the installation: queue (depth, pending, processing, completed, failed; estimated: some numbers are '
  'above 10,000 and estimates of the planner), dead_letters (open; an estimate above 10,000), transports, workers (of '
  'the last minute), clock (the ticker), replays (of the last day), functions_url, pruned, timestamp. Raises '
  'SM_UNAVAILABLE on a read replica. Example: select messenger_status() -> ''queue'';';
revoke all on function
  messenger.queue_figures(),
  messenger.status(),
  public.messenger_status()
from public, anon, authenticated, service_role;
grant execute on function messenger.status(), public.messenger_status() to service_role;
