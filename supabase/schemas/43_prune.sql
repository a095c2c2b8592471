-- Pruning, in bites: finished messages past their retention, resolved dead letters, spent idempotency keys, old occurrences, old rows of the clock's own job.

-- Walks the primary key, which is ordered by time, from where the last bite stopped; turns back at the first row too young for any retention.
create or replace function messenger.prune_messages(at timestamptz, bite int)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  v_shortest interval;
  v_after uuid;
  v_pruned bigint;
  v_last record;
begin
  select min(coalesce((t.config ->> 'retention')::interval, '7 days')) into v_shortest from public.messenger_transports t;
  select c.prune_after into v_after from messenger.clock c;

  with bite as materialized (
    select m.id, m.transport_name, m.created_at,
      m.processed_at < prune_messages.at - coalesce((t.config ->> 'retention')::interval, '7 days')
      -- A failed message stays as long as its dead letter is open.
      and not exists (select from public.messenger_failed_messages f where f.message_id = m.id and f.resolved_at is null) as is_done
    from (select * from public.messenger_messages x where x.id > v_after order by x.id limit prune_messages.bite) m
    left join public.messenger_transports t on t.name = m.transport_name
  ),
  gone as (
    delete from public.messenger_messages m
    where m.id = any (array(select b.id from bite b where b.is_done)) and m.processed_at is not null
    returning m.id, m.transport_name
  ),
  forgotten as (
    delete from messenger.attempts a where a.message_id = any (array(select g.id from gone g))
  ),
  counted as (
    insert into messenger.pruned (transport_name, message_count, at)
    select g.transport_name, count(*), prune_messages.at from gone g group by g.transport_name
    returning message_count
  )
  select count(*) as seen, (select b.id from bite b order by b.id desc limit 1) as id, max(b.created_at) as created_at,
    (select coalesce(sum(c.message_count), 0) from counted c) as pruned
  into v_last
  from bite b;
  v_pruned := v_last.pruned;

  v_after := case
    when v_last.seen < bite or v_last.created_at > at - v_shortest then '00000000-0000-0000-0000-000000000000'
    else v_last.id
  end;
  update messenger.clock c set prune_after = v_after
  where c.prune_after <> v_after and c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  return v_pruned;
end $$;

create or replace function messenger.prune_rest(at timestamptz, bite int)
returns void
language plpgsql
set search_path = ''
as $$
begin
  delete from public.messenger_failed_messages f
  where f.id = any (array(
    select x.id from public.messenger_failed_messages x
    left join public.messenger_transports t on t.name = x.transport_name
    where x.resolved_at is not null and x.resolved_at < prune_rest.at - coalesce((t.config ->> 'failed_retention')::interval, '30 days')
    order by x.resolved_at limit bite));

  delete from messenger.idempotency_keys k
  where (k.scope, k.key) in (
    select x.scope, x.key from messenger.idempotency_keys x
    where x.expires_at < prune_rest.at
      and not exists (select from public.messenger_messages m where m.id = x.message_id and m.processed_at is null)
      and not exists (select from public.messenger_failed_messages f where f.message_id = x.message_id and f.resolved_at is null)
    order by x.expires_at limit bite
    for update skip locked);

  -- Kept while its message is unfinished, which overlap asks for, and while its schedule has not gone past it.
  delete from messenger.occurrences o
  where (o.schedule_id, o.due_at) in (
    select x.schedule_id, x.due_at from messenger.occurrences x
    where x.due_at < prune_rest.at - interval '7 days'
      and not exists (select from public.messenger_messages m where m.id = x.message_id and m.processed_at is null)
      and not exists (select from public.messenger_schedules s where s.id = x.schedule_id and s.next_run_at <= x.due_at)
    order by x.due_at limit bite
    for update skip locked);

  delete from messenger.workers w where w.polled_at < prune_rest.at - interval '1 hour';

  with folded as (delete from messenger.pruned p where (select count(*) from messenger.pruned) > 100 returning *)
  insert into messenger.pruned (transport_name, message_count, at)
  select f.transport_name, sum(f.message_count), max(f.at) from folded f group by f.transport_name;
end $$;

-- pg_cron never prunes its history. Only the runs of our own command are ours to delete: by command, because a clock that was stopped and started
-- has another job id, and with a run cut off in the middle, whose end is never written.
create or replace function messenger.prune_clock_history()
returns void
language plpgsql
set search_path = ''
as $$
begin
  if to_regclass('cron.job_run_details') is not null then
    delete from cron.job_run_details d
    where d.command = messenger.clock_command() and coalesce(d.end_time, d.start_time) < pg_catalog.now() - interval '1 day';
  end if;
end $$;

comment on function messenger.prune_messages(timestamptz, int) is 'Deletes finished messages past their transport''s retention among the next bite of rows, counting them. Returns how many.';
comment on function messenger.prune_rest(timestamptz, int) is 'Deletes resolved dead letters, spent idempotency keys, old occurrences and forgotten workers; folds the count of pruned messages.';
comment on function messenger.prune_clock_history() is 'Deletes job_run_details rows of the clock that are older than a day.';
revoke all on function messenger.prune_messages(timestamptz, int), messenger.prune_rest(timestamptz, int), messenger.prune_clock_history()
  from public, anon, authenticated, service_role;
