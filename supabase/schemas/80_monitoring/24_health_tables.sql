-- Health checks of tables: required rows and rights, registered types, failing schedules, and growth.

-- A restore without data or a TRUNCATE removes required rows. The tick inserts the row of messenger.clock again.
create or replace function messenger.health_own_rows(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(*) = 0 then 'healthy' else 'unhealthy' end,
    coalesce('missing: ' || string_agg(m.name, ', ' order by m.name), 'all required rows exist'),
    'select messenger_start(); -- creates them again; pass the functions URL if it was lost',
    jsonb_build_object('missing', count(*))
  from (
    select 'transport ' || d.name as name from unnest(array['supabase', 'sync']) as d(name)
    where not exists (select from public.messenger_transports t where t.name = d.name)
    union all
    select 'message type ' || d.type from unnest(array['symphony.event', 'symphony.webhook']) as d(type)
    where not exists (select from messenger.message_types k where k.type = d.type)
    union all
    select 'messenger.settings' where not exists (select from messenger.settings) and messenger.is_ticker_scheduled()
  ) m
$$;

-- Default privileges of the project grant anon and authenticated all rights on tables restored
-- from a dump; only the migration revokes them.
create or replace function messenger.health_rights(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(*) = 0 then 'healthy' else 'unhealthy' end,
    coalesce('PUBLIC, anon or authenticated have rights that this release does not grant, on '
      || left(string_agg(x.name, ', ' order by x.name), 500),
      'PUBLIC, anon and authenticated have only the rights of this release'),
    'run the migration of this release again: it revokes all other rights',
    jsonb_build_object('relations', count(*))
  from (
    select distinct c.relname as name
    from pg_catalog.pg_class c, aclexplode(c.relacl) a
    where (c.relnamespace = 'messenger'::regnamespace
        or c.relnamespace = 'public'::regnamespace and starts_with(c.relname, 'messenger_'))
      and c.relkind in ('r', 'v', 'S')
      and (a.grantee = 0 or a.grantee in (
        select r.oid from pg_catalog.pg_roles r where r.rolname in ('anon', 'authenticated')))
  ) x
$$;

-- Each worker reports the types it takes. Their routes, retries and allowed
-- dispatchers apply only once they are registered.
create or replace function messenger.health_registration(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(*) = 0 then 'healthy' else 'degraded' end,
    coalesce('workers take types that are not registered, so their routes, retries and permissions do not apply: '
      || left(string_agg(u.type, ', ' order by u.type), 1000),
      'all types taken by workers of the last minute are registered'),
    'look for the rejected definition in the worker''s log; a worker registers its types when it starts',
    jsonb_build_object('types', count(*))
  from (
    select t.type
    from messenger.workers w cross join lateral unnest(w.types) as t(type)
    where w.polled_at > health_registration.at - interval '1 minute' and w.polled_at <= health_registration.at
    except
    select k.type from messenger.message_types k
    except
    select a.type from messenger.message_types k cross join lateral unnest(k.aliases) as a(type)
  ) u
$$;

create or replace function messenger.health_schedules(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when f.n = 0 then 'healthy' else 'degraded' end,
    case when f.n = 0 then 'no schedule fails'
      else format('%s fail and are retried every 5 minutes, the latest %s: %s', f.n, f.names[1],
        left(f.errors[1], 300)) end,
    'select name, last_error, next_run_at from messenger_schedules where enabled and last_error is not null',
    jsonb_build_object('failing', f.n)
  from (
    select count(*) as n, array_agg(s.name order by s.updated_at desc, s.name) as names,
      array_agg(s.last_error order by s.updated_at desc, s.name) as errors
    from public.messenger_schedules s where s.enabled and s.last_error is not null
  ) f
$$;

-- Tables that only an operator or a worker can shrink.
create or replace function messenger.growth_limits()
returns table (name text, rows_query text, most bigint, remedy text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  values
    ('open dead letters', 'select from public.messenger_failed_messages f where f.resolved_at is null', 10000::bigint,
      'select * from messenger_failed_summary; then retry them with messenger_retry_failed, '
      'or discard them with messenger_discard_failed'),
    ('unfinished messages', 'select from public.messenger_messages m where m.processed_at is null', 100000,
      'select * from messenger_queue_depth; raise max_workers, or reduce the rate of dispatches'),
    ('schedules that run once', 'select from public.messenger_schedules s where s.schedule_type = ''once''', 10000,
      'dispatch with a delay instead of a schedule; schedules that have run are deleted after their transport''s '
      'retention'),
    ('wake-ups', 'select from messenger.wakeups b', 50000,
      'select * from messenger.step_errors where step = ''prune_wakeups''; find out why workers are woken so often')
$$;

create or replace function messenger.check_growth()
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit record;
  v_count record;
  v_result messenger.check_result := row('healthy', null, null, '{}'::jsonb);
begin
  for v_limit in select * from messenger.growth_limits() loop
    select * into v_count from messenger.count_rows(v_limit.rows_query);
    v_result.figures := v_result.figures || jsonb_build_object(translate(v_limit.name, ' -', '__'), v_count.n);
    if v_count.n > v_limit.most then
      v_result.status := 'degraded';
      v_result.detail := concat_ws('; ', v_result.detail, format('%s%s %s, more than %s',
        case when v_count.estimated then 'about ' else '' end, v_count.n, v_limit.name, v_limit.most));
      v_result.remedy := concat_ws('; ', v_result.remedy, v_limit.remedy);
    end if;
  end loop;
  v_result.detail := coalesce(v_result.detail, 'no table has more rows than expected');
  return next v_result;
end $$;

create or replace function messenger.health_growth(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.check_growth() $$;

comment on function messenger.health_own_rows(timestamptz) is
  'A required transport, type or row of settings is missing: unhealthy.';
comment on function messenger.health_rights(timestamptz) is
  'anon, authenticated or PUBLIC have a right on a whole table of Symphony Messenger: unhealthy.';
comment on function messenger.health_registration(timestamptz) is
  'A worker of the last minute takes a type that is not registered: degraded.';
comment on function messenger.health_schedules(timestamptz) is 'A schedule fails: degraded.';
comment on function messenger.growth_limits() is
  'The tables of messenger.health_growth: the query for their rows, the highest expected number, and the remedy.';
comment on function messenger.check_growth() is 'See messenger.health_growth.';
comment on function messenger.health_growth(timestamptz) is
  'A table has more rows than messenger.growth_limits allows: degraded.';
revoke all on function
  messenger.check_growth(),
  messenger.health_own_rows(timestamptz),
  messenger.health_rights(timestamptz),
  messenger.health_registration(timestamptz),
  messenger.health_schedules(timestamptz),
  messenger.growth_limits(),
  messenger.health_growth(timestamptz)
from public, anon, authenticated, service_role;
