-- What a running worker calls: heartbeat for what it holds; exchange to settle and claim in one round trip and one commit.
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
  elsif v_lease <= '0' or v_lease > '12 hours' then
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

create or replace function public.messenger_exchange(
  outcomes jsonb, worker text, batch int default 10, lease interval default '60 s', transport text default null, queues text[] default null, types text[] default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_settled jsonb;
  v_claimed jsonb;
begin
  select jsonb_agg(to_jsonb(s)) into v_settled from public.messenger_settle(outcomes) s;
  select jsonb_agg(to_jsonb(c)) into v_claimed from public.messenger_claim(worker, batch, lease, transport, queues, types) c;
  return jsonb_build_object('settled', coalesce(v_settled, '[]'), 'claimed', coalesce(v_claimed, '[]'));
end $$;

comment on function public.messenger_heartbeat(jsonb, interval) is
  'Extends the leases [{"id", "fence", "progress"?}] to now + lease and stores progress. extended or stale; cancel_requested tells the handler to stop.';
comment on function public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]) is
  'messenger_settle and messenger_claim in one transaction: {"settled": [...], "claimed": [...]}.';
revoke all on function public.messenger_heartbeat(jsonb, interval), public.messenger_exchange(jsonb, text, int, interval, text, text[], text[])
  from public, anon, authenticated;
grant execute on function public.messenger_heartbeat(jsonb, interval), public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]) to service_role;
