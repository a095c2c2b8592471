-- The headers of a scheduled message, and the moment since which a schedule is due.

-- After an error next_run_at is the next attempt; schedule_backoffs keeps the original due moment.
create or replace function messenger.due_since(schedule public.messenger_schedules)
returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select b.due_at from messenger.schedule_backoffs b where b.schedule_id = schedule.id), schedule.next_run_at);
end $$;

create or replace function messenger.schedule_headers(name text, due_at timestamptz)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object('x-schedule', name, 'x-scheduled-for',
    to_char(due_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
end $$;

comment on function messenger.due_since(public.messenger_schedules) is
  'The earliest due moment of a schedule that has not run yet.';
comment on function messenger.schedule_headers(text, timestamptz) is
  'The headers of a scheduled message: x-schedule (its name) and x-scheduled-for (ISO 8601, UTC, milliseconds).';
revoke all on function
  messenger.due_since(public.messenger_schedules),
  messenger.schedule_headers(text, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.due_since(public.messenger_schedules),
  messenger.schedule_headers(text, timestamptz)
to service_role;
