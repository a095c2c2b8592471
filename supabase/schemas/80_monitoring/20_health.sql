-- Health: one function per check, found by its name: messenger.health_<name>(at timestamptz) returns setof
-- messenger.check_result. A check that raises must not hide the others, and an empty list of checks is unhealthy.
create or replace function messenger.health_checks()
returns table (name text, status text, detail text, remedy text, figures jsonb)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_check record;
begin
  for v_check in select * from messenger.own_functions('health', 'timestamp with time zone',
    'messenger.check_result') loop
    begin
      return query execute format('select $1, c.status, c.detail, case when c.status <> ''healthy'' then c.remedy '
        'end, c.figures from %s($2) c', v_check.function)
        using v_check.name, v_now;
    exception when others then
      return query select v_check.name, 'unhealthy', 'the check itself failed: ' || sqlerrm,
        'select * from messenger_verify() where state <> ''ok''', '{}'::jsonb;
    end;
  end loop;
  if not found then
    return query select 'checks', 'unhealthy',
      'no health check function belongs to the owner of messenger.settings',
      'give all objects of schema messenger to one role, or run the migration again as their owner', '{}'::jsonb;
  end if;
end $$;

create or replace function messenger.health()
returns jsonb
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'status', case
      when bool_or(c.status = 'unhealthy') then 'unhealthy'
      when bool_or(c.status = 'degraded') then 'degraded'
      else 'healthy'
    end,
    'checks', jsonb_agg(jsonb_strip_nulls(to_jsonb(c)) order by c.name),
    'timestamp', messenger.now(),
    'metrics', messenger.queue_figures()
  )
  from messenger.health_checks() c
$$;

create or replace function public.messenger_health()
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.health() where messenger.require_primary() $$;

comment on function messenger.health_checks() is 'One row per check: name, status, detail, remedy, figures.';
comment on function messenger.health() is 'See public.messenger_health.';
comment on function public.messenger_health() is
  'Runs all health checks: {"status", "checks": [{name, status, detail, remedy?, figures}], "timestamp", "metrics" '
  '(the queue of messenger_status)}. status is healthy, degraded or unhealthy; the overall status is the worst of all '
  'checks. Raises SM_UNAVAILABLE on a read replica. Example: select messenger_health() ->> ''status'';';
revoke all on function
  messenger.health_checks(),
  messenger.health(),
  public.messenger_health()
from public, anon, authenticated, service_role;
grant execute on function messenger.health(), public.messenger_health() to service_role;
