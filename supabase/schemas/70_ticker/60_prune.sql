-- Prunes in chunks within the time of the step: finished messages past their retention, resolved dead letters, expired
-- idempotency keys, old occurrences, and schedules that have run once.

-- Continues from the position where the last scan stopped. The position moves past a chunk only once it was written as
-- a whole. Rows that must stay (unfinished messages, open dead letters) are visited by every scan, so each chunk of
-- them delays the next scan by a second, a hundred times what visiting it costs. Without the pause a million delayed
-- messages that are older than the retention cost 150 ms of every tick.
create or replace function messenger.prune(
  step text, object text, finder text, at timestamptz, batch int, ends_at timestamptz
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_longest_pause constant interval := interval '1 hour';
  v_figures jsonb;
  v_start messenger.scan_positions := (select p from messenger.scan_positions p where p.step = prune.step);
  v_after messenger.scan_positions := v_start;
  v_next messenger.scan_positions;
  v_row_ids text[];
begin
  -- A longer pause was stored before the database clock was set back.
  if num_nonnulls(v_start.at, v_start.id) = 0 and v_start.resume_at > at
    and v_start.resume_at <= at + v_longest_pause then
    return null;
  end if;
  v_after.resume_at := coalesce(case when num_nonnulls(v_start.at, v_start.id) > 0 then v_start.resume_at end, at);
  loop
    case finder
      when 'find_finished_messages' then
        select f.row_ids, null::timestamptz, f.next_id into v_row_ids, v_next.at, v_next.id
        from messenger.find_finished_messages(v_after.id, at, batch) f;
      when 'find_resolved_dead_letters' then
        select f.row_ids, f.next_at, f.next_id into v_row_ids, v_next.at, v_next.id
        from messenger.find_resolved_dead_letters(v_after.at, v_after.id, at, batch) f;
      when 'find_spent_keys' then
        select f.row_ids, f.next_at, null::uuid into v_row_ids, v_next.at, v_next.id
        from messenger.find_spent_keys(v_after.at, at, batch) f;
      when 'find_old_occurrences' then
        select f.row_ids, f.next_at, f.next_id into v_row_ids, v_next.at, v_next.id
        from messenger.find_old_occurrences(v_after.at, v_after.id, at, batch) f;
      when 'find_fired_schedules' then
        select f.row_ids, f.next_at, f.next_id into v_row_ids, v_next.at, v_next.id
        from messenger.find_fired_schedules(v_after.at, v_after.id, at, batch) f;
    end case;
    if v_row_ids <> '{}' then
      v_figures := messenger.add_figures(v_figures,
        messenger.write_each(step, object, messenger.without_set_aside(step, object, v_row_ids, at), at, ends_at));
    end if;
    exit when clock_timestamp() > ends_at;
    v_after.at := v_next.at;
    v_after.id := v_next.id;
    exit when num_nonnulls(v_after.at, v_after.id) = 0;
    v_after.resume_at := least(at + v_longest_pause,
      v_after.resume_at + greatest(0, 1 - cardinality(v_row_ids)::double precision / batch) * interval '1 second');
  end loop;
  if (v_after.at, v_after.id) is distinct from (v_start.at, v_start.id) or v_after.resume_at > at then
    perform messenger.move_scan(
      step, v_after.at, v_after.id, case when v_after.resume_at > at then v_after.resume_at end);
  end if;
  return v_figures;
end $$;

-- Scans the primary key, which is ordered by time, up to the first id that is too new for any retention. A chunk ends
-- after batch finished messages or five times as many visited ones: visiting costs 1 us, or 5 us if the message failed,
-- and deleting 10 us.
create or replace function messenger.find_finished_messages(
  after_id uuid, at timestamptz, batch int, out row_ids text[], out next_id uuid
)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_after uuid := coalesce(after_id, '00000000-0000-0000-0000-000000000000');
  -- Messages of a missing transport have the default.
  v_shortest interval := least('7 days', (select min((t.config ->> 'retention')::interval)
    from public.messenger_transports t));
  v_too_new uuid := messenger.first_id(at - v_shortest);
  v_last uuid := (
    select m.id from public.messenger_messages m where m.id > v_after and m.id < v_too_new
    order by m.id offset 5 * batch - 1 limit 1);
  v_ids uuid[] := array(
    select m.id
    from public.messenger_messages m
    left join (
      select x.name, find_finished_messages.at - coalesce((x.config ->> 'retention')::interval, '7 days') as finished_by
      from public.messenger_transports x
    ) t on t.name = m.transport_name
    where m.id > v_after and m.id < v_too_new and m.id <= coalesce(v_last, v_too_new)
      -- Without this condition unfinished messages would be joined, too.
      and m.processed_at is not null
      and m.processed_at < coalesce(t.finished_by, find_finished_messages.at - interval '7 days')
      -- A failed message stays while its dead letter is open. Without "offset 0" the planner may read all dead letters.
      and (m.status <> 'failed' or not exists (select from public.messenger_failed_messages f
        where f.message_id = m.id and f.resolved_at is null offset 0))
    order by m.id
    limit batch
    -- Rows locked by a foreign key of the project or by a retry are left to the next scan.
    for update of m skip locked);
begin
  row_ids := messenger.row_ids(v_ids);
  next_id := case when cardinality(v_ids) = batch then v_ids[batch] else v_last end;
end $$;

create or replace function messenger.delete_messages(ids uuid[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pruned bigint;
begin
  with gone as (
    delete from public.messenger_messages m where m.id = any (ids) returning m.id, m.transport_name
  ),
  forgotten as (
    delete from messenger.attempts a where a.message_id = any (array(select g.id from gone g))
  ),
  counted as (
    insert into messenger.pruned (transport_name, message_count, at)
    select g.transport_name, count(*), delete_messages.at from gone g group by g.transport_name
    returning message_count
  )
  select coalesce(sum(c.message_count), 0) into v_pruned from counted c;
  return jsonb_build_object('pruned', v_pruned);
end $$;

create or replace function messenger.find_resolved_dead_letters(
  after_at timestamptz, after_id uuid, at timestamptz, batch int,
  out row_ids text[], out next_at timestamptz, out next_id uuid
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_after_at timestamptz := coalesce(after_at, '-infinity');
  v_after_id uuid := coalesce(after_id, '00000000-0000-0000-0000-000000000000');
  v_shortest interval := (select min(coalesce((t.config ->> 'failed_retention')::interval, '30 days'))
    from public.messenger_transports t);
  v_chunk record;
begin
  with chunk as materialized (
    select f.id, f.resolved_at, f.resolved_at < find_resolved_dead_letters.at
      - coalesce((t.config ->> 'failed_retention')::interval, '30 days') as is_done
    from (
      select x.id, x.resolved_at, x.transport_name from public.messenger_failed_messages x
      where x.resolved_at is not null and (x.resolved_at, x.id) > (v_after_at, v_after_id)
        and x.resolved_at < find_resolved_dead_letters.at - least(v_shortest, interval '30 days')
      order by x.resolved_at, x.id limit batch
    ) f
    left join public.messenger_transports t on t.name = f.transport_name
  ),
  held as (
    select f.id from public.messenger_failed_messages f
    where f.id = any (array(select c.id from chunk c where c.is_done)) and f.resolved_at is not null
    order by f.id
    for update skip locked
  )
  select count(*) as seen, max(c.resolved_at) as last_at,
    (select c.id from chunk c order by c.resolved_at desc, c.id desc limit 1) as last_id,
    array(select h.id from held h) as ids
  into v_chunk
  from chunk c;
  row_ids := messenger.row_ids(v_chunk.ids);
  if v_chunk.seen = batch then
    next_at := v_chunk.last_at;
    next_id := v_chunk.last_id;
  end if;
end $$;

-- Expired keys of unfinished messages and open dead letters stay. The message is looked up by its id
-- alone: with "where processed_at is null" the planner may read the whole backlog per key (4 s for 5,000
-- keys beside 10,000 pending messages, now 30 ms).
create or replace function messenger.find_spent_keys(
  after_at timestamptz, at timestamptz, batch int, out row_ids text[], out next_at timestamptz
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_seen record;
  v_held tid[];
begin
  -- With ties, because the keys of one batch expire at the same instant.
  select count(*) as keys, max(k.expires_at) as last, array_agg(k.row_id) filter (where k.is_spent) as ctids into v_seen
  from (
    select x.row_id, x.expires_at,
      coalesce((select m.processed_at is not null from public.messenger_messages m where m.id = x.message_id), true)
      and not exists (select from public.messenger_failed_messages f where f.message_id = x.message_id
        and f.resolved_at is null) as is_spent
    from (
      select e.ctid as row_id, e.message_id, e.expires_at from messenger.idempotency_keys e
      where e.expires_at < find_spent_keys.at and e.expires_at > coalesce(after_at, '-infinity')
      order by e.expires_at fetch first (batch) rows with ties
    ) x
  ) k;
  next_at := case when v_seen.keys >= batch then v_seen.last end;
  row_ids := '{}';
  if v_seen.ctids is not null then
    -- Checked again under the lock: a dispatch may have taken over a key since.
    v_held := array(select x.ctid from messenger.idempotency_keys x where x.ctid = any (v_seen.ctids)
      and x.expires_at < find_spent_keys.at for update skip locked);
    row_ids := array(
      select jsonb_build_object('scope', k.scope, 'key', k.key)::text from messenger.idempotency_keys k
      where k.ctid = any (v_held)
        and coalesce((select m.processed_at is not null from public.messenger_messages m where m.id = k.message_id),
          true)
        and not exists (select from public.messenger_failed_messages f where f.message_id = k.message_id
          and f.resolved_at is null));
  end if;
end $$;

comment on function messenger.prune(text, text, text, timestamptz, int, timestamptz) is
  'Deletes the rows that the finder selects from a table, in chunks of batch, until the end of the table or ends_at is '
  'reached. Does nothing if the last scan of the step left a pause that has not ended. Returns figures.';
comment on function messenger.find_finished_messages(uuid, timestamptz, int) is
  'Locks at most batch finished messages past their transport''s retention, among the next five times as many rows by '
  'id.';
comment on function messenger.delete_messages(uuid[], timestamptz) is
  'Deletes messages with their attempts and adds them to messenger.pruned. Returns {"pruned": number}.';
comment on function messenger.find_resolved_dead_letters(timestamptz, uuid, timestamptz, int) is
  'Locks resolved dead letters past their transport''s retention among the next batch of rows by resolved_at and id.';
comment on function messenger.find_spent_keys(timestamptz, timestamptz, int) is
  'Locks keys of finished or deleted messages among the next batch of expired idempotency keys.';
revoke all on function
  messenger.prune(text, text, text, timestamptz, int, timestamptz),
  messenger.find_finished_messages(uuid, timestamptz, int),
  messenger.delete_messages(uuid[], timestamptz),
  messenger.find_resolved_dead_letters(timestamptz, uuid, timestamptz, int),
  messenger.find_spent_keys(timestamptz, timestamptz, int)
from public, anon, authenticated, service_role;
grant execute on function messenger.delete_messages(uuid[], timestamptz) to service_role;
