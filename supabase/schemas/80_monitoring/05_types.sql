-- Composite types of monitoring.

do $$
begin
  if to_regtype('messenger.check_result') is null then
    create type messenger.check_result as (status text, detail text, remedy text, figures jsonb);
  end if;
end $$;
comment on type messenger.check_result is
  'What a check found: status (healthy, degraded, unhealthy), detail, remedy (what fixes it when it is not healthy), figures (the numbers behind it, a JSON object).';

do $$
begin
  if to_regtype('messenger.reason') is null then
    create type messenger.reason as (rank int, reason text, detail text, remedy text);
  end if;
end $$;
comment on type messenger.reason is
  'A cause: rank (below 90 it holds the message up, the lowest first; 90: nothing does; from 100 on only worth knowing), reason (the name of its function), detail, remedy (SQL or a command to paste; null where there is nothing to fix).';

do $$
begin
  if to_regtype('messenger.figures') is null then
    create type messenger.figures as (
      dispatched bigint, completed bigint, retried bigint, dead bigint, duration_ms double precision, durations bigint[], wait_count bigint, waited_ms double precision
    );
  end if;
end $$;
comment on type messenger.figures is 'Sums of rows of messenger.metrics.';
