-- Heartbeats: a worker extends the leases of the messages it runs.

-- Never waits: a locked row is skipped, and lock_timeout limits the waits of the project's triggers. An error undoes
-- the attempt (the block costs 3 us), and each lease is then extended on its own, for at most 400 ms in all.
create or replace function public.messenger_heartbeat(leases jsonb, lease interval default '60 s')
returns table (id uuid, outcome text, cancel_requested boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $$
#variable_conflict use_column
declare
  v_leases jsonb := leases;
  v_lease interval := coalesce(lease, '60 s');
  v_now timestamptz := messenger.now();
  v_end timestamptz := clock_timestamp() + interval '400 milliseconds';
  v_one jsonb;
  v_ids uuid[];
  v_outcomes text[];
  v_cancels boolean[];
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  if v_leases is null or jsonb_typeof(v_leases) <> 'array' then
    perform messenger.raise_error('SM_LEASE', 'leases must be a JSON array of {"id", "fence", "progress"?}');
  elsif jsonb_array_length(v_leases) > 1000 then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE');
  elsif v_lease <= '0' or v_lease > '12 hours'
    or exists (select from jsonb_array_elements(v_leases) e where jsonb_typeof(e) <> 'object') then
    perform messenger.raise_error('SM_LEASE');
  end if;

  begin
    with given as materialized (
      select row_number() over () as ord, g.id, g.fence, messenger.cap_size(g.progress) as progress
      from jsonb_to_recordset(v_leases) as g(id uuid, fence bigint, progress jsonb)
    ),
    -- An expired lease that no other worker has taken over is still current.
    held as materialized (
      select m.id, m.fence from public.messenger_messages m
      where m.id = any (array(select g.id from given g)) and m.status = 'processing'
      order by m.id
      for no key update skip locked
    ),
    extended as (
      update public.messenger_messages m
      set lock_expires_at = v_now + v_lease, updated_at = v_now, progress = coalesce(g.progress, m.progress)
      from given g join held h on h.id = g.id and h.fence = g.fence
      where m.id = g.id
      returning m.id, m.fence, m.cancel_requested_at is not null as cancel_requested
    ),
    -- A lease whose row could not be locked is still held.
    reply as (
      select g.id,
        case when e.id is not null then 'extended' when l.id is not null then 'locked' else 'stale' end as outcome,
        coalesce(e.cancel_requested, l.cancel_requested_at is not null) as cancel_requested
      from given g
      left join extended e on e.id = g.id and e.fence = g.fence
      left join lateral (
        select m.id, m.cancel_requested_at from public.messenger_messages m
        where e.id is null and m.id = g.id and m.fence = g.fence and m.status = 'processing'
        limit 1
      ) l on true
      order by g.ord
    )
    select array_agg(r.id), array_agg(r.outcome), array_agg(r.cancel_requested)
    into v_ids, v_outcomes, v_cancels
    from reply r;
    perform messenger.check_deferred(v_now);
  exception when others then
    if not messenger.is_row_error(sqlstate) then
      raise;
    elsif jsonb_array_length(v_leases) = 1 then
      return query
      select g.id, messenger.outcome_of_error(sqlstate, sqlerrm),
        -- The whole table may be locked.
        sqlstate <> '55P03' and exists (
          select from public.messenger_messages m
          where m.id = g.id and m.fence = g.fence and m.cancel_requested_at is not null)
      from jsonb_to_recordset(v_leases) as g(id uuid, fence bigint);
      return;
    end if;
    for v_one in select e from jsonb_array_elements(v_leases) e loop
      if clock_timestamp() < v_end then
        return query select h.id, h.outcome, h.cancel_requested
        from public.messenger_heartbeat(jsonb_build_array(v_one), v_lease) h;
      else
        return query select (v_one ->> 'id')::uuid, 'locked', false;
      end if;
    end loop;
    return;
  end;
  return query select a.id, a.outcome, a.cancel_requested
  from unnest(v_ids, v_outcomes, v_cancels) as a(id, outcome, cancel_requested);
end $$;

comment on function public.messenger_heartbeat(jsonb, interval) is
  'Extends up to 1000 leases [{"id", "fence", "progress"?}] to now + lease (default: 60 s, at most 12 hours) and '
  'stores progress, at most 64 KB. '
  'Example: select * from messenger_heartbeat(''[{"id": "01990000-0000-7000-8000-000000000001", "fence": 1}]''). '
  'outcome: extended; locked (another transaction has locked the row: the lease is still held and was not extended, '
  'send it again); stale (the lease is no longer held); error: <SQLSTATE> <message> (a trigger or constraint on '
  'messenger_messages rejected the row; the lease is still held). '
  'cancel_requested: the handler should stop. Errors: SM_LEASE, SM_BATCH_TOO_LARGE.';
revoke all on function public.messenger_heartbeat(jsonb, interval) from public, anon, authenticated;
grant execute on function public.messenger_heartbeat(jsonb, interval) to service_role;
