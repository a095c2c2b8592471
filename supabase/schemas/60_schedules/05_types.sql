-- Composite types of cron expressions and due runs.

do $$
begin
  if to_regtype('messenger.run_plan') is null then
    create type messenger.run_plan as (runs timestamptz[], next_run_at timestamptz);
  end if;
end $$;
comment on type messenger.run_plan is
  'The occurrences of a schedule to fire now, oldest first, and the next occurrence after them.';

do $$
begin
  if to_regtype('messenger.run_disposition') is null then
    create type messenger.run_disposition as (schedule_id uuid, due_at timestamptz, error text);
  end if;
end $$;
comment on type messenger.run_disposition is 'The result of one occurrence: stored if error is null, else the error.';

do $$
begin
  if to_regtype('messenger.cron_run') is null then
    create type messenger.cron_run as (run_at timestamptz, note text);
  end if;
end $$;
comment on type messenger.cron_run is
  'A run and how a change of offset affected it: moved, first of the doubled '
  'hour, second of the doubled hour, or null.';

do $$
begin
  if to_regtype('messenger.cron_fields') is null then
    create type messenger.cron_fields as (
      seconds text, minutes text, hours text, days text, months text, weekdays text, last_weekdays text, nth int,
      last_day boolean,
      first_second int, first_minute int, first_hour int, elapsed boolean);
  end if;
end $$;
comment on type messenger.cron_fields is
  'A cron expression as masks; weekdays start with Sunday. A day matches by days, by weekdays (only the nth of the '
  'month if nth > 0), by last_weekdays or by last_day. A field that does not restrict the day is all zeros.';
