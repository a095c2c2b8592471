-- Replays: retries of many dead letters at a limited rate. The ticker stops a replay whose messages fail again.
create table if not exists messenger.replays (
  id uuid not null default messenger.new_id(),
  started_at timestamptz not null,
  per_second int not null,
  total int not null,
  completed int not null default 0,
  dead int not null default 0,
  lapsed int not null default 0,
  returned int not null default 0,
  stopped_at timestamptz,
  stop_reason text,
  finished_at timestamptz,
  constraint replays_pkey primary key (id),
  constraint replays_stop_check check ((stopped_at is null) = (stop_reason is null))
);
create index if not exists replays_running_idx on messenger.replays (id) where finished_at is null;

create table if not exists messenger.replayed (
  replay_id uuid not null,
  message_id uuid not null,
  dead_letter_id uuid not null,
  fence bigint not null,
  due_at timestamptz not null,
  outcome text,
  constraint replayed_pkey primary key (replay_id, message_id),
  constraint replayed_outcome_check check (outcome in ('completed', 'dead', 'lapsed', 'returned'))
);
create index if not exists replayed_undecided_idx on messenger.replayed (replay_id, due_at) where outcome is null;

comment on table messenger.replays is
  'Retries of dead letters with per_second. A replay stops if at least five messages have ended and more than a fifth '
  'of them are dead letters again. Pruned a week after it has finished.';
comment on column messenger.replays.id is 'Time-ordered UUID of the replay, version 7.';
comment on column messenger.replays.started_at is 'When the replay was started.';
comment on column messenger.replays.per_second is 'Number of messages that become due per second.';
comment on column messenger.replays.total is 'Number of dead letters that were retried.';
comment on column messenger.replays.completed is 'Number of messages that completed.';
comment on column messenger.replays.dead is 'Number of messages that became dead letters again.';
comment on column messenger.replays.lapsed is
  'Number of messages that expired or were cancelled: neither a success nor a failure of the replay.';
comment on column messenger.replays.returned is
  'Number of messages that were not handed out when the replay was stopped: their dead letters are open again.';
comment on column messenger.replays.stopped_at is 'When the replay was stopped; null: it was not.';
comment on column messenger.replays.stop_reason is 'Why it was stopped; null: it was not.';
comment on column messenger.replays.finished_at is 'When the last message ended; null: the replay is running.';
comment on table messenger.replayed is 'The messages of a replay; outcome is null until they end.';
comment on column messenger.replayed.replay_id is 'Id of the replay.';
comment on column messenger.replayed.message_id is 'Id of the message.';
comment on column messenger.replayed.dead_letter_id is 'Id of the dead letter that was retried.';
comment on column messenger.replayed.fence is
  'The message''s fence when it was retried; while it is the same, no worker has received the message.';
comment on column messenger.replayed.due_at is 'When the message becomes due.';
comment on column messenger.replayed.outcome is
  'completed, dead, lapsed or returned; null until the message has ended.';

-- Messages that a claim has locked are skipped; the next tick returns them if they are still pending.
create or replace function messenger.return_replayed(replay_id uuid, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_replay uuid := replay_id;
  v_messages uuid[];
begin
  v_messages := array(
    select m.id
    from messenger.replayed x join public.messenger_messages m on m.id = x.message_id
    where x.replay_id = v_replay and x.outcome is null and m.status = 'pending' and m.fence = x.fence
      and exists (select from public.messenger_failed_messages f where f.id = x.dead_letter_id
        and f.resolution = 'retried')
      and not exists (select from public.messenger_failed_messages f where f.message_id = m.id
        and f.resolved_at is null)
    order by m.id
    for no key update of m skip locked);
  with dead_letter as (
    update public.messenger_failed_messages f set resolved_at = null, resolution = null
    from messenger.replayed x
    where x.replay_id = v_replay and x.message_id = any (v_messages) and f.id = x.dead_letter_id
    returning f.message_id, f.error, f.error_class, f.retry_count
  ),
  message as (
    update public.messenger_messages m
    set status = 'failed', processed_at = return_replayed.at, updated_at = return_replayed.at, last_error = l.error,
        error_class = l.error_class,
        retry_count = least(l.retry_count, m.max_retries + 1, m.fence)
    from dead_letter l
    where m.id = l.message_id
  )
  update messenger.replayed x set outcome = 'returned' where x.replay_id = v_replay and x.message_id = any (v_messages);
  update messenger.replays r set returned = r.returned + cardinality(v_messages)
  where r.id = v_replay and v_messages <> '{}';
  perform messenger.unblock_next(messenger.order_keys(v_messages), at);
end $$;

-- The caller has locked the replays.
create or replace function messenger.watch_replay(row_ids text[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid;
  v_replay messenger.replays;
begin
  foreach v_id in array messenger.uuids_of(row_ids) loop
    with ended as (
      update messenger.replayed x
      set outcome = case when s.status is null or s.status = 'completed' then 'completed'
        when s.error_class in ('Expired', 'Cancelled') then 'lapsed' else 'dead' end
      from (
        select u.message_id, m.status, m.error_class
        from messenger.replayed u left join public.messenger_messages m on m.id = u.message_id
        where u.replay_id = v_id and u.outcome is null and u.due_at <= watch_replay.at
          and (m.id is null or m.processed_at is not null)
      ) s
      where x.replay_id = v_id and x.message_id = s.message_id
      returning x.outcome
    )
    update messenger.replays r
    set completed = r.completed + e.completed, dead = r.dead + e.dead, lapsed = r.lapsed + e.lapsed
    from (
      select count(*) filter (where outcome = 'completed') as completed, count(*)
        filter (where outcome = 'dead') as dead,
        count(*) filter (where outcome = 'lapsed') as lapsed, count(*) as ended
      from ended
    ) e
    where r.id = v_id and e.ended > 0;

    select * into v_replay from messenger.replays r where r.id = v_id;
    if v_replay.stopped_at is null and v_replay.completed + v_replay.dead >= 5
      and v_replay.dead * 5 > v_replay.completed + v_replay.dead then
      update messenger.replays r
      set stopped_at = watch_replay.at,
          stop_reason = format('%s of %s handled messages are dead letters again', r.dead, r.completed + r.dead)
      where r.id = v_id
      returning * into v_replay;
    end if;
    if v_replay.stopped_at is not null then
      perform messenger.return_replayed(v_id, watch_replay.at);
    end if;
    update messenger.replays r set finished_at = watch_replay.at
    where r.id = v_id and not exists (select from messenger.replayed x where x.replay_id = v_id and x.outcome is null);
  end loop;
  return '{}'::jsonb;
end $$;

create or replace function messenger.watch_replays(at timestamptz, ends_at timestamptz default 'infinity')
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_running text[] := messenger.row_ids(array(
    select r.id from messenger.replays r where r.finished_at is null order by r.id for update skip locked));
begin
  perform messenger.write_each('replays', 'messenger.replays',
    messenger.without_set_aside('replays', 'messenger.replays', v_running, at), at, ends_at);
end $$;

create or replace function messenger.prune_replays(at timestamptz, chunk int)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from messenger.replayed x
  where x.ctid = any (array(
    select u.ctid from messenger.replays r join messenger.replayed u on u.replay_id = r.id
    where r.finished_at < prune_replays.at - interval '7 days'
    limit chunk for update of u skip locked));
  delete from messenger.replays r
  where r.id in (
      select o.id from messenger.replays o where o.finished_at < prune_replays.at - interval '7 days'
      for update skip locked)
    and not exists (select from messenger.replayed x where x.replay_id = r.id);
end $$;

create or replace function messenger.replay_report()
returns table (
  id uuid, started_at timestamptz, per_second int, total int, completed int, dead int, lapsed int, returned int,
  remaining int,
  stopped_at timestamptz, stop_reason text, finished_at timestamptz
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select r.id, r.started_at, r.per_second, r.total, r.completed, r.dead, r.lapsed, r.returned,
    r.total - r.completed - r.dead - r.lapsed - r.returned,
    r.stopped_at, r.stop_reason, r.finished_at
  from messenger.replays r
  order by r.id desc
$$;

comment on function messenger.return_replayed(uuid, timestamptz) is
  'Reopens the dead letters of the messages of a stopped replay that were not handed out.';
comment on function messenger.watch_replay(text[], timestamptz) is
  'Counts the ended messages of these replays, stops replays whose messages fail again, and '
  'finishes replays without remaining messages.';
comment on function messenger.watch_replays(timestamptz, timestamptz) is
  'Calls messenger.watch_replay for the running replays. A replay that cannot be written is set aside.';
comment on function messenger.prune_replays(timestamptz, int) is
  'Deletes replays that finished more than a week ago, at most chunk messages per call.';
comment on function messenger.replay_report() is
  'Running replays and those of the last week, newest first, as of the last tick: total messages, of which completed, '
  'dead (failed again), lapsed (expired or cancelled), returned (dead letter reopened by a stop) and remaining. '
  'Example: select * from messenger.replay_report() where finished_at is null;';

alter table messenger.replays enable row level security;
alter table messenger.replayed enable row level security;
drop policy if exists service_only on messenger.replays;
create policy service_only on messenger.replays for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.replayed;
create policy service_only on messenger.replayed for all to anon, authenticated using (false) with check (false);
revoke all on messenger.replays, messenger.replayed from public, anon, authenticated, service_role;
grant select, insert on messenger.replays, messenger.replayed to service_role;
revoke all on function
  messenger.return_replayed(uuid, timestamptz),
  messenger.watch_replay(text[], timestamptz),
  messenger.watch_replays(timestamptz, timestamptz),
  messenger.prune_replays(timestamptz, int),
  messenger.replay_report()
from public, anon, authenticated, service_role;
grant execute on function messenger.replay_report() to service_role;
