-- Composite types of cron expressions and due runs.

do $$
begin
  if to_regtype('messenger.run_plan') is null then
    create type messenger.run_plan as (runs timestamptz[], next_run_at timestamptz);
  end if;
end $$;
comment on type messenger.run_plan is 'The occurrences of a schedule to fire now, oldest first, and the next one.';

do $$
begin
  if to_regtype('messenger.run_disposition') is null then
    create type messenger.run_disposition as (schedule_id uuid, due_at timestamptz, error text);
  end if;
end $$;
comment on type messenger.run_disposition is 'What became of an occurrence: stored, or an error.';

do $$
begin
  if to_regtype('messenger.cron_run') is null then
    create type messenger.cron_run as (run_at timestamptz, note text);
  end if;
end $$;
comment on type messenger.cron_run is 'A run and what a change of offset did to it: moved, first of the doubled hour, second of the doubled hour, or null.';

do $$
begin
  if to_regtype('messenger.cron_fields') is null then
    create type messenger.cron_fields as (
      seconds text, minutes text, hours text, days text, months text, weekdays text, last_weekdays text, nth int, last_day boolean,
      first_second int, first_minute int, first_hour int, elapsed boolean);
  end if;
end $$;
comment on type messenger.cron_fields is
  'A cron expression as masks; weekdays start with Sunday. A day matches by days, weekdays (the nth of the month, 0: any), last_weekdays or last_day: what does not restrict is empty.';
