-- The tick: what the ticker does each second. Safe to call by anyone who may, at any time, at once.

-- Recorded where the row can be had at once: another tick may hold it in a transaction that stays open.
create or replace function messenger.note_step_error(step text, error text, sqlstate text, at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
  if exists (select from messenger.step_errors e where e.step = note_step_error.step) then
    update messenger.step_errors e set error = left(note_step_error.error, 1000), sqlstate = note_step_error.sqlstate,
      at = note_step_error.at, failures = e.failures + 1,
      repeats = case when e.at > note_step_error.at - interval '5 minutes' then e.repeats + 1 else 1 end
    where e.step in (select x.step from messenger.step_errors x where x.step = note_step_error.step for update skip locked);
  else
    insert into messenger.step_errors (step, error, sqlstate, at) values (step, left(error, 1000), sqlstate, at)
    on conflict on constraint step_errors_pkey do nothing;
  end if;
  update messenger.clock c set last_error = left(step || ': ' || error, 1000), last_error_at = note_step_error.at
  where c.singleton in (select x.singleton from messenger.clock x for update skip locked);
exception when others then
  raise log 'symphony: the error of step % of the tick could not be recorded: %', step, error;
end $$;

-- Ticks are counted by rows of their own, so that none waits for another's.
create or replace function messenger.note_tick(at timestamptz, started_at timestamptz, slowest_step text, slowest interval)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.ticks (at, duration_ms, slowest_step, slowest_ms)
  values (note_tick.at, extract(epoch from clock_timestamp() - started_at) * 1000, note_tick.slowest_step, extract(epoch from slowest) * 1000);
  delete from messenger.ticks t
  where t.id in (
    select x.id from messenger.ticks x where x.at not between note_tick.at - interval '5 minutes' and note_tick.at + interval '5 minutes' for update skip locked);
  update messenger.clock c set last_tick_at = note_tick.at, ticks = c.ticks + 1
  where c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  if not found and not exists (select from messenger.clock) then
    insert into messenger.clock (last_tick_at, ticks) values (note_tick.at, 1) on conflict on constraint clock_pkey do nothing;
  end if;
end $$;

-- After 900 ms each step that is left does one chunk: with a backlog everywhere there are still 55 ticks per minute, and no step is left out.
-- Each step is undone alone when it fails, also by what would otherwise fail at the commit. It waits for no lock: what others hold it skips, and
-- lock_timeout is for what cannot be skipped, such as a table that the project is changing. Definer: it reads Vault, calls pg_net and prunes
-- pg_cron's rows, which service_role cannot.
create or replace function messenger.run_steps(batch int, without text[])
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '25ms'
set jit = off
as $$
declare
  v_now timestamptz := messenger.now();
  v_started_at timestamptz := clock_timestamp();
  v_figures jsonb := '{"expanded": 0, "failed": 0, "rescued": 0, "dead": 0, "woken": 0, "relayed": 0, "pruned": 0}'::jsonb;
  v_errors jsonb := '{}'::jsonb;
  v_step record;
  v_step_at timestamptz;
  v_result jsonb;
  v_error text;
  v_state text;
  v_slowest_step text;
  v_slowest interval := interval '0';
begin
  for v_step in select * from messenger.steps() s where s.name <> all (without) loop
    v_step_at := clock_timestamp();
    begin
      v_result := messenger.run_step(v_step.name, v_now, batch, least(v_step_at + v_step.budget, v_started_at + interval '900 ms'));
      set constraints all immediate;
      v_figures := messenger.add_figures(v_figures, v_result);
    exception when others or query_canceled or assert_failure then
      get stacked diagnostics v_error = message_text, v_state = returned_sqlstate;
      perform messenger.note_step_error(v_step.name, v_error, v_state, v_now);
      v_errors := v_errors || jsonb_build_object(v_step.name, v_error);
    end;
    if clock_timestamp() - v_step_at > v_slowest then
      v_slowest_step := v_step.name;
      v_slowest := clock_timestamp() - v_step_at;
    end if;
  end loop;
  begin
    perform messenger.note_tick(v_now, v_started_at, v_slowest_step, v_slowest);
  exception when others then
    perform messenger.note_step_error('note_tick', sqlerrm, sqlstate, v_now);
  end;
  return v_figures || case when v_errors = '{}' then '{}' else jsonb_build_object('errors', v_errors) end;
end $$;

create or replace function messenger.tick(batch int)
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch int := coalesce(batch, 100);
begin
  perform messenger.require_writable();
  if v_batch not between 1 and 10000 then
    perform messenger.raise_error('SM_BATCH');
  end if;
  return messenger.run_steps(v_batch, case when messenger.is_handlers_job_running() then '{sql_handlers}' else '{}' end::text[]);
end $$;

create or replace function public.messenger_tick(batch int default 100)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.tick(batch) $$;

-- The table may be locked by the project, and its row may be missing: a job that runs was started.
create or replace function messenger.is_ticker_enabled()
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((select s.clock_enabled from messenger.settings s), true);
exception when lock_not_available then
  return true;
end $$;

-- For the ticker. A handler that hangs, or kills its backend, would stop it, so it leaves SQL handlers to their own job wherever there can be one.
create or replace function messenger.tick_or_note_error()
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '25ms'
as $$
begin
  begin
    perform messenger.run_steps(100, case when to_regclass('cron.job') is null then '{}' else '{sql_handlers}' end::text[]);
  exception when others then
    perform messenger.note_step_error('tick', sqlerrm, sqlstate, messenger.now());
  end;
  return messenger.is_ticker_enabled();
end $$;

comment on function messenger.note_step_error(text, text, text, timestamptz) is 'Records that a step of the tick failed.';
comment on function messenger.note_tick(timestamptz, timestamptz, text, interval) is 'Records a tick with its duration and slowest step, and forgets those of more than five minutes ago.';
comment on function messenger.run_steps(int, text[]) is 'Runs the steps of a tick, each in a subtransaction of its own, but for those named. Returns the figures, and the errors by step where there are any.';
comment on function messenger.tick(int) is 'See public.messenger_tick.';
comment on function public.messenger_tick(int) is
  'One tick: rescues, expands schedules, wakes, prunes (batch: size of a chunk), and runs SQL handlers where their job is not running. Returns {"expanded" (messages of schedules), "failed" (messages that expired or whose cancelling was due), "rescued", "dead", "woken", "relayed", "pruned"}, and "errors" by step where a step failed; the other steps have run all the same.';
comment on function messenger.is_ticker_enabled() is 'Whether messenger_start is in force.';
comment on function messenger.tick_or_note_error() is 'A tick that never raises. Returns whether the ticker is still enabled.';
revoke all on function messenger.note_step_error(text, text, text, timestamptz), messenger.note_tick(timestamptz, timestamptz, text, interval),
  messenger.run_steps(int, text[]), messenger.tick(int), public.messenger_tick(int), messenger.is_ticker_enabled(),
  messenger.tick_or_note_error()
  from public, anon, authenticated, service_role;
grant execute on function messenger.tick(int), public.messenger_tick(int) to service_role;
