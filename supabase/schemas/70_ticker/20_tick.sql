-- The tick: the work of the ticker, once per second. Several ticks may run at the same time.

-- Another tick may hold the row in a transaction that stays open; then the error is not recorded, instead of waiting.
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
    where e.step in (
      select x.step from messenger.step_errors x where x.step = note_step_error.step for update skip locked);
  else
    insert into messenger.step_errors (step, error, sqlstate, at) values (step, left(error, 1000), sqlstate, at)
    on conflict on constraint step_errors_pkey do nothing;
  end if;
  update messenger.clock c set last_error = left(step || ': ' || error, 1000), last_error_at = note_step_error.at
  where c.singleton in (select x.singleton from messenger.clock x for update skip locked);
exception when others then
  raise log 'symphony: the error of step % of the tick could not be recorded: %', step, error;
end $$;

-- Each tick inserts a row of its own, so that no tick waits for the row of another.
create or replace function messenger.note_tick(
  at timestamptz, started_at timestamptz, slowest_step text, slowest interval
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.ticks (at, duration_ms, slowest_step, slowest_ms)
  values (note_tick.at, extract(epoch from clock_timestamp() - started_at) * 1000, note_tick.slowest_step,
    extract(epoch from slowest) * 1000);
  delete from messenger.ticks t
  where t.id in (
    select x.id from messenger.ticks x
    where x.at not between note_tick.at - interval '5 minutes' and note_tick.at + interval '5 minutes'
    for update skip locked);
  update messenger.clock c set last_tick_at = note_tick.at, ticks = c.ticks + 1
  where c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  if not found and not exists (select from messenger.clock) then
    insert into messenger.clock (last_tick_at, ticks) values (note_tick.at, 1)
    on conflict on constraint clock_pkey do nothing;
  end if;
end $$;

-- After 900 ms each remaining step does one chunk: with a backlog everywhere there are still 55 ticks per minute, and
-- no step is left out. A failing step is undone alone; deferred constraints are checked within it. Steps skip locked
-- rows; lock_timeout covers locks that cannot be skipped, such as a table that the project is altering. Definer: it
-- reads Vault, calls pg_net and prunes pg_cron's rows, which service_role cannot.
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
  v_figures jsonb := jsonb_build_object(
    'expanded', 0, 'failed', 0, 'rescued', 0, 'dead', 0, 'woken', 0, 'relayed', 0, 'pruned', 0);
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
      v_result := messenger.run_step(v_step.name, v_now, batch,
        least(v_step_at + v_step.budget, v_started_at + interval '900 ms'));
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
    perform messenger.raise_error('SM_BATCH',
      message => 'batch must be a number from 1 to 10000',
      remedy => 'default: 100');
  end if;
  return messenger.run_steps(
    v_batch, case when messenger.is_handlers_job_running() then '{sql_handlers}' else '{}' end::text[]);
end $$;

create or replace function public.messenger_tick(batch int default 100)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.tick(batch) $$;

-- The project may have locked the table, and its row may be missing. Because the job
-- is running, the ticker counts as enabled then.
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

-- The command of the pg_cron job. A handler that hangs or ends its backend would stop the ticker, so SQL handlers run
-- in a job of their own wherever there is pg_cron.
create or replace function messenger.tick_or_note_error()
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '25ms'
as $$
begin
  begin
    perform messenger.run_steps(
      100, case when to_regclass('cron.job') is null then '{}' else '{sql_handlers}' end::text[]);
  exception when others then
    perform messenger.note_step_error('tick', sqlerrm, sqlstate, messenger.now());
  end;
  return messenger.is_ticker_enabled();
end $$;

comment on function messenger.note_step_error(text, text, text, timestamptz) is
  'Records the error of a step of the tick.';
comment on function messenger.note_tick(timestamptz, timestamptz, text, interval) is
  'Records a tick with its duration and slowest step, and deletes ticks that are more than five minutes old.';
comment on function messenger.run_steps(int, text[]) is
  'Runs the steps of a tick, each in its own subtransaction, except those in without. '
  'Returns the figures of public.messenger_tick.';
comment on function messenger.tick(int) is 'See public.messenger_tick.';
comment on function public.messenger_tick(int) is
  'Runs one tick: requeues messages with expired leases, stores messages of due schedules, wakes workers, prunes, and '
  'runs SQL handlers if the job symphony-handlers is not running. batch: messages per chunk, 1 to 10000. Returns '
  'counts of messages: {"expanded" (stored by schedules), "failed" (expired or cancelled), "rescued" (requeued), '
  '"dead" (moved to the dead letters), "woken" (wake-ups sent), "relayed", "pruned"}, and "errors" by step if a step '
  'failed; the other steps still run. Raises SM_BATCH, SM_UNAVAILABLE. Example: select messenger_tick();';
comment on function messenger.is_ticker_enabled() is
  'True if messenger_start was called after the last messenger_stop.';
comment on function messenger.tick_or_note_error() is
  'Runs a tick and records its errors instead of raising them. Returns whether the ticker is still enabled.';
revoke all on function
  messenger.note_step_error(text, text, text, timestamptz),
  messenger.note_tick(timestamptz, timestamptz, text, interval),
  messenger.run_steps(int, text[]),
  messenger.tick(int),
  public.messenger_tick(int),
  messenger.is_ticker_enabled(),
  messenger.tick_or_note_error()
from public, anon, authenticated, service_role;
grant execute on function messenger.tick(int), public.messenger_tick(int) to service_role;
