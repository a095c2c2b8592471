-- Health check of deliveries: the share that fails.
create or replace function messenger.error_rate(at timestamptz)
returns table (ended bigint, failed bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  v_from timestamptz := date_bin('1 minute', at - interval '5 minutes', '2000-01-01 00:00+00');
begin
  return query
  select coalesce(sum(m.completed + m.retried + m.dead), 0)::bigint, coalesce(sum(m.retried + m.dead), 0)::bigint
  from (
    select * from messenger.metrics r
    where r.step_seconds = 60 and r.at >= v_from and r.at < v_from + interval '6 minutes'
    union all
    select * from messenger.not_rolled_up(v_from, v_from + interval '6 minutes')
  ) m;
end $$;

create or replace function messenger.health_error_rate(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select
    case
      when r.ended < 20 or r.failed <= 0.2 * r.ended then 'healthy'
      when r.failed <= 0.5 * r.ended then 'degraded'
      else 'unhealthy'
    end,
    r.failed || ' of ' || r.ended || ' deliveries within 5 minutes failed',
    'select jsonb_pretty(messenger_metrics(5) -> ''errors'')',
    jsonb_build_object('ended', r.ended, 'failed', r.failed, 'share', round(r.failed / nullif(r.ended, 0)::numeric, 3))
  from messenger.error_rate(health_error_rate.at) r
$$;
comment on function messenger.error_rate(timestamptz) is
  'Deliveries that ended within the last five minutes, and how many of them failed.';
comment on function messenger.health_error_rate(timestamptz) is
  'The share of deliveries within 5 minutes that failed, if there were at least 20: degraded '
  'above 20 percent, unhealthy above 50 percent.';
revoke all on function
  messenger.error_rate(timestamptz),
  messenger.health_error_rate(timestamptz)
from public, anon, authenticated, service_role;
