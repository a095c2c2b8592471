-- The steps of a tick: their order, their time budgets, and the function that each calls.

-- A step checks its time between two chunks and leaves the rest to the next tick. Messages become due before workers
-- are woken. User code runs last, and not in the ticker if pg_cron can run the job symphony-handlers.
create or replace function messenger.steps()
returns table (name text, budget interval)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  values ('rescue', interval '300 ms'), ('unblock', '50 ms'), ('route', '50 ms'), ('replays', '50 ms'),
    ('schedules', '300 ms'),
    ('overdue_handlers', '20 ms'), ('handlers_job', '20 ms'), ('wake', '50 ms'), ('roll_up', '150 ms'),
    ('roll_up_steps', '50 ms'),
    ('prune_messages', '150 ms'), ('prune_dead_letters', '150 ms'), ('prune_keys', '150 ms'),
    ('prune_occurrences', '150 ms'),
    ('prune_schedules', '50 ms'), ('prune_replays', '20 ms'), ('prune_workers', '20 ms'), ('prune_counts', '20 ms'),
    ('prune_metrics', '20 ms'), ('prune_wakeups', '20 ms'), ('prune_ordering_keys', '40 ms'),
    ('prune_locks', '20 ms'), ('prune_job_history', '20 ms'), ('set_aside', '20 ms'), ('sql_handlers', '500 ms')
$$;

create or replace function messenger.run_step(step text, at timestamptz, batch int, ends_at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  case step
    when 'rescue' then
      return (select jsonb_build_object('rescued', r.rescued, 'dead', r.dead, 'failed', r.finished)
        from messenger.rescue(at, ends_at) r);
    when 'unblock' then perform messenger.unblock_stuck(at, 1000, ends_at);
    when 'route' then perform messenger.route_due(at, 200, ends_at);
    when 'replays' then perform messenger.watch_replays(at, ends_at);
    when 'schedules' then return jsonb_build_object('expanded',
      messenger.expand_schedules(at, greatest(batch, 1000), ends_at));
    when 'overdue_handlers' then perform messenger.cancel_overdue_handlers();
    when 'handlers_job' then perform messenger.sync_handlers_job();
    when 'wake' then return jsonb_build_object('woken', messenger.wake(at));
    when 'roll_up' then perform messenger.roll_up(at, ends_at);
    when 'roll_up_steps' then perform messenger.roll_up_steps(at, ends_at);
    when 'prune_messages' then
      return messenger.prune(step, 'public.messenger_messages', 'find_finished_messages', at, 10 * batch, ends_at);
    when 'prune_dead_letters' then
      return messenger.prune(
        step, 'public.messenger_failed_messages', 'find_resolved_dead_letters', at, 10 * batch, ends_at);
    when 'prune_keys' then
      return messenger.prune(step, 'messenger.idempotency_keys', 'find_spent_keys', at, 10 * batch, ends_at);
    when 'prune_occurrences' then
      return messenger.prune(step, 'messenger.occurrences', 'find_old_occurrences', at, 10 * batch, ends_at);
    when 'prune_schedules' then
      return messenger.prune(step, 'public.messenger_schedules', 'find_fired_schedules', at, 10 * batch, ends_at);
    when 'prune_replays' then perform messenger.prune_replays(at, batch);
    when 'prune_workers' then perform messenger.prune_workers(at);
    when 'prune_counts' then perform messenger.prune_counts();
    when 'prune_metrics' then perform messenger.prune_metrics(at, 10 * batch);
    when 'prune_wakeups' then perform messenger.prune_wakeups(10 * batch);
    when 'prune_ordering_keys' then perform messenger.prune_ordering_keys(at, 20 * batch);
    when 'prune_locks' then perform messenger.prune_wakeup_locks(at, batch), messenger.prune_senders(at, 20 * batch);
    when 'prune_job_history' then perform messenger.prune_ticker_history()
      where (select c.ticks % 3600 = 0 from messenger.clock c);
    when 'set_aside' then perform messenger.forget_set_aside(at, batch);
    when 'sql_handlers' then perform messenger.run_sql_handlers(batch);
  end case;
  return null;
end $$;

comment on function messenger.steps() is 'The steps of a tick in their order, each with its time budget.';
comment on function messenger.run_step(text, timestamptz, int, timestamptz) is
  'Runs one step with this chunk size until about ends_at. Returns the figures '
  'it adds to the reply of the tick, or null.';
revoke all on function
  messenger.steps(),
  messenger.run_step(text, timestamptz, int, timestamptz)
from public, anon, authenticated, service_role;
