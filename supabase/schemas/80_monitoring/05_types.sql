-- Composite types of monitoring.

do $$
begin
  if to_regtype('messenger.check_result') is null then
    create type messenger.check_result as (status text, detail text, remedy text, figures jsonb);
  end if;
end $$;
comment on type messenger.check_result is
  'The result of a health check: status (healthy, degraded or unhealthy), detail, remedy (how to fix it; shown unless '
  'healthy) and figures (the numbers behind it, a JSON object).';

do $$
begin
  if to_regtype('messenger.reason') is null then
    create type messenger.reason as (rank int, reason text, detail text, remedy text);
  end if;
end $$;
comment on type messenger.reason is
  'A reason of messenger_explain: rank (below 90: it delays the message, the lowest first; 90: nothing delays '
  'it; from 100 on: additional information), reason (the name of its function), detail, remedy (SQL or a '
  'command to run; null if nothing needs fixing).';

do $$
begin
  if to_regtype('messenger.figures') is null then
    create type messenger.figures as (
      dispatched bigint, completed bigint, retried bigint, dead bigint, duration_ms double precision,
      durations bigint[], wait_count bigint, waited_ms double precision
    );
  end if;
end $$;
comment on type messenger.figures is 'Sums of rows of messenger.metrics.';
