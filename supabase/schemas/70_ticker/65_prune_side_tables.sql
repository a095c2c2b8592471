-- Prunes small tables: workers, counts of pruned messages, and the rows of Symphony Messenger in pg_net and pg_cron.

create or replace function messenger.prune_workers(at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from messenger.workers w
  where w.worker in (select x.worker from messenger.workers x where x.polled_at < prune_workers.at - interval '1 hour'
    for update skip locked);
end $$;

-- Each deletion of messages appends a row. More than a hundred are merged into one per transport.
create or replace function messenger.prune_counts()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if (select count(*) from messenger.pruned) <= 100 then
    return;
  end if;
  with taken as (
    delete from messenger.pruned p
    where p.id in (select x.id from messenger.pruned x for update skip locked) returning *
  )
  insert into messenger.pruned (transport_name, message_count, at)
  select t.transport_name, sum(t.message_count), max(t.at) from taken t group by t.transport_name;
end $$;

-- pg_net deletes responses after pg_net.ttl (default: 6 hours, for all callers); those of wake-ups go after
-- one hour. Runs once per hour, not per tick: the table has no index on the id, so a scan reads all
-- responses of the project in that range of time.
create or replace function messenger.prune_wakeups(chunk int)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pg_catalog.now();
  v_ids bigint[];
  v_from timestamptz;
  v_to timestamptz;
begin
  if not exists (select from (select b.at from messenger.wakeups b order by b.request_id limit 1) oldest
    where oldest.at < v_now - interval '2 hours') then
    return;
  end if;
  with gone as (
    delete from messenger.wakeups b
    where b.request_id = any (array(
      select x.request_id from messenger.wakeups x where x.at < v_now - interval '1 hour'
      order by x.request_id limit chunk for update skip locked))
    returning b.request_id, b.at
  )
  select array_agg(g.request_id), min(g.at), max(g.at) into v_ids, v_from, v_to from gone g;
  if v_ids is not null and to_regclass('net._http_response') is not null then
    if has_table_privilege('net._http_response', 'delete') then
      -- A response may arrive long after its wake-up if pg_net was held up; pg_net's own pruning then deletes it.
      delete from net._http_response r
      where r.created between v_from and v_to + interval '10 minutes' and r.id in (select i from unnest(v_ids) i);
    end if;
  end if;
end $$;

-- pg_cron never prunes its history. Only runs of our own commands are deleted: by command, because a job that was
-- stopped and started has another id, and including runs that were cut off and have no end_time. The table is indexed
-- by run only, so this runs once per hour.
create or replace function messenger.prune_ticker_history()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass('cron.job_run_details') is not null then
    delete from cron.job_run_details d
    where d.command ~ '^\s*do \$\$.*messenger\.(tick_or_note_error|work_off)\('
      and coalesce(d.end_time, d.start_time) < pg_catalog.now() - interval '1 day';
  end if;
end $$;

comment on function messenger.prune_workers(timestamptz) is 'Deletes workers that have not polled for an hour.';
comment on function messenger.prune_counts() is
  'Merges the counts of pruned messages once there are more than a hundred rows.';
comment on function messenger.prune_wakeups(int) is
  'Deletes wake-ups that are more than an hour old, with pg_net''s responses to them.';
comment on function messenger.prune_ticker_history() is
  'Deletes rows of cron.job_run_details of Symphony Messenger''s jobs that are older than a day.';
revoke all on function
  messenger.prune_workers(timestamptz),
  messenger.prune_counts(),
  messenger.prune_wakeups(int),
  messenger.prune_ticker_history()
from public, anon, authenticated, service_role;
