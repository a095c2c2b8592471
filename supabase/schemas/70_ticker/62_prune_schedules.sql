-- Finds fired one-off schedules and old occurrences for pruning.

-- A paused schedule has a next run and stays. The retention counts from updated_at, when the schedule fired:
-- last_run_at is the due moment, which may lie far back.
create or replace function messenger.find_fired_schedules(
  after_at timestamptz, after_id uuid, at timestamptz, batch int,
  out row_ids text[], out next_at timestamptz, out next_id uuid
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk record;
begin
  with chunk as materialized (
    select s.id, s.updated_at,
      s.updated_at < find_fired_schedules.at - coalesce((t.config ->> 'retention')::interval, '7 days') as is_done
    from public.messenger_schedules s
    left join public.messenger_transports t on t.name = s.transport_name
    where s.schedule_type = 'once' and not s.enabled and s.next_run_at is null
      and (s.updated_at, s.id)
        > (coalesce(after_at, '-infinity'), coalesce(after_id, '00000000-0000-0000-0000-000000000000'))
    order by s.updated_at, s.id limit batch
  ),
  held as (
    select s.id from public.messenger_schedules s
    where s.id = any (array(select c.id from chunk c where c.is_done)) and not s.enabled and s.next_run_at is null
    order by s.id
    for update skip locked
  )
  select count(*) as seen, max(c.updated_at) as last_at,
    (select c.id from chunk c order by c.updated_at desc, c.id desc limit 1) as last_id,
    array(select h.id from held h) as ids
  into v_chunk
  from chunk c;
  row_ids := messenger.row_ids(v_chunk.ids);
  if v_chunk.seen = batch then
    next_at := v_chunk.last_at;
    next_id := v_chunk.last_id;
  end if;
end $$;

-- An occurrence stays while its message is unfinished, because the overlap policy reads
-- it, and until its schedule has moved past it.
create or replace function messenger.find_old_occurrences(
  after_at timestamptz, after_id uuid, at timestamptz, batch int,
  out row_ids text[], out next_at timestamptz, out next_id uuid
)
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_after_at timestamptz := coalesce(after_at, '-infinity');
  v_after_id uuid := coalesce(after_id, '00000000-0000-0000-0000-000000000000');
  v_chunk record;
begin
  with chunk as materialized (
    select o.ctid as row_id, o.schedule_id, o.due_at,
      coalesce((select m.processed_at is not null from public.messenger_messages m where m.id = o.message_id), true)
      and not exists (select from public.messenger_schedules s where s.id = o.schedule_id
        and s.next_run_at <= o.due_at) as is_done
    from messenger.occurrences o
    where o.due_at < find_old_occurrences.at - interval '7 days'
      and (o.due_at, o.schedule_id) > (v_after_at, v_after_id)
    order by o.due_at, o.schedule_id limit batch
  ),
  held as (
    select o.schedule_id, o.due_at from messenger.occurrences o
    where o.ctid = any (array(select c.row_id from chunk c where c.is_done))
    for update skip locked
  )
  select count(*) as seen, max(c.due_at) as last_at,
    (select c.schedule_id from chunk c order by c.due_at desc, c.schedule_id desc limit 1) as last_id,
    array(select jsonb_build_object('schedule_id', h.schedule_id, 'due_at', h.due_at)::text from held h) as row_ids
  into v_chunk
  from chunk c;
  row_ids := v_chunk.row_ids;
  if v_chunk.seen = batch then
    next_at := v_chunk.last_at;
    next_id := v_chunk.last_id;
  end if;
end $$;

comment on function messenger.find_fired_schedules(timestamptz, uuid, timestamptz, int) is
  'Locks schedules of type once that finished longer ago than their transport''s retention, among '
  'the next batch of rows by updated_at and id.';
comment on function messenger.find_old_occurrences(timestamptz, uuid, timestamptz, int) is
  'Locks occurrences older than 7 days that are no longer needed among the next batch of rows.';
revoke all on function
  messenger.find_fired_schedules(timestamptz, uuid, timestamptz, int),
  messenger.find_old_occurrences(timestamptz, uuid, timestamptz, int)
from public, anon, authenticated, service_role;
