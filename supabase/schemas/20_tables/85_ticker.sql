-- State of the ticker: its last ticks, the errors of its steps, rows that it has set aside, and where its scans
-- stopped.

-- Rows instead of a counter: a transaction that has ticked and stays open would hold the counter row, and no other tick
-- could count. Unlogged: after a crash the count begins again.
create unlogged table if not exists messenger.ticks (
  id bigint generated always as identity,
  at timestamptz not null,
  duration_ms int not null,
  slowest_step text,
  slowest_ms int,
  constraint ticks_pkey primary key (id)
);
comment on table messenger.ticks is 'Ticks of the last five minutes, from which health computes their rate per minute.';
comment on column messenger.ticks.id is 'Number of the row.';
comment on column messenger.ticks.at is 'When the tick began.';
comment on column messenger.ticks.duration_ms is 'Milliseconds that the tick took.';
comment on column messenger.ticks.slowest_step is 'Name of the step that took longest; null: no step ran.';
comment on column messenger.ticks.slowest_ms is 'Milliseconds that this step took.';

create table if not exists messenger.step_errors (
  step text not null,
  error text not null,
  sqlstate text not null,
  at timestamptz not null,
  failures bigint not null default 1,
  repeats int not null default 1,
  constraint step_errors_pkey primary key (step)
);
comment on table messenger.step_errors is
  'The newest error of each step of a tick. A failed step is undone by itself; the other steps of the tick continue.';
comment on column messenger.step_errors.step is 'Name of the step, as messenger.steps lists it.';
comment on column messenger.step_errors.error is 'Text of the newest error.';
comment on column messenger.step_errors.sqlstate is 'SQLSTATE of the newest error.';
comment on column messenger.step_errors.at is 'When the step failed last.';
comment on column messenger.step_errors.failures is 'Number of failures.';
comment on column messenger.step_errors.repeats is
  'Number of failures in succession, each within five minutes of the previous one.';

create table if not exists messenger.set_aside (
  step text not null,
  object text not null,
  row_id text not null,
  error text not null,
  sqlstate text not null,
  at timestamptz not null,
  attempts int not null default 1,
  retry_at timestamptz not null,
  constraint set_aside_pkey primary key (step, object, row_id)
);
comment on table messenger.set_aside is
  'Rows that a step of a tick could not write, so that they do not stop the others. Each is attempted again from '
  'retry_at on, and deleted here on success.';
comment on column messenger.set_aside.step is 'Name of the step, or claim.';
comment on column messenger.set_aside.object is 'Table of the row.';
comment on column messenger.set_aside.row_id is
  'Key of the row as a JSON object, for example {"id": "01990000-0000-7000-8000-000000000001"}.';
comment on column messenger.set_aside.error is 'Text of the newest error.';
comment on column messenger.set_aside.sqlstate is 'SQLSTATE of the newest error.';
comment on column messenger.set_aside.at is 'When that error occurred.';
comment on column messenger.set_aside.attempts is 'Number of failures.';
comment on column messenger.set_aside.retry_at is 'When the row is attempted next.';
create index if not exists set_aside_retry_at_idx on messenger.set_aside (retry_at);

-- Typed columns, because a timestamp as text depends on the session: Postgres prints IST for India and reads it as
-- Israel.
create table if not exists messenger.scan_positions (
  step text not null,
  at timestamptz,
  id uuid,
  resume_at timestamptz,
  constraint scan_positions_pkey primary key (step)
);
comment on table messenger.scan_positions is
  'Where the scan of a step stopped, so that the next tick continues there and rows that must stay do not hide others.';
comment on column messenger.scan_positions.step is 'Name of the step.';
comment on column messenger.scan_positions.at is
  'Time of the last row visited, if the scan is ordered by time; null otherwise.';
comment on column messenger.scan_positions.id is
  'Id of the last row visited, if the scan is ordered by id, or by time and id; null otherwise.';
comment on column messenger.scan_positions.resume_at is
  'When the next scan may begin after this one has reached the end; null: at once.';

-- Another tick may hold the row in a transaction that stays open. Then the position is kept, and the same rows are
-- scanned again.
create or replace function messenger.move_scan(step text, at timestamptz, id uuid, resume_at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
  if num_nonnulls(at, id, resume_at) = 0 then
    delete from messenger.scan_positions p
    where p.step in (
      select x.step from messenger.scan_positions x where x.step = move_scan.step for update skip locked);
  elsif exists (select from messenger.scan_positions p where p.step = move_scan.step) then
    update messenger.scan_positions p
    set at = move_scan.at, id = move_scan.id, resume_at = move_scan.resume_at
    where p.step in (
      select x.step from messenger.scan_positions x where x.step = move_scan.step for update skip locked);
  else
    insert into messenger.scan_positions values (step, at, id, resume_at)
    on conflict on constraint scan_positions_pkey do nothing;
  end if;
end $$;

comment on function messenger.move_scan(text, timestamptz, uuid, timestamptz) is
  'Stores where the scan of this step stopped; nulls: the scan has reached the end, and the next begins at the start, '
  'from resume_at on.';

alter table messenger.ticks enable row level security;
alter table messenger.step_errors enable row level security;
alter table messenger.set_aside enable row level security;
alter table messenger.scan_positions enable row level security;
drop policy if exists service_only on messenger.ticks;
create policy service_only on messenger.ticks for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.step_errors;
create policy service_only on messenger.step_errors for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.set_aside;
create policy service_only on messenger.set_aside for all to anon, authenticated using (false) with check (false);
drop policy if exists service_only on messenger.scan_positions;
create policy service_only on messenger.scan_positions for all to anon, authenticated using (false) with check (false);
revoke all on
  messenger.ticks,
  messenger.step_errors,
  messenger.set_aside,
  messenger.scan_positions
from public, anon, authenticated, service_role;
grant select on messenger.ticks, messenger.step_errors, messenger.set_aside to service_role;
revoke all on function messenger.move_scan(text, timestamptz, uuid, timestamptz)
from public, anon, authenticated, service_role;
