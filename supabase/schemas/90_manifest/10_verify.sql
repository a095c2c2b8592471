-- Compares this database with the release and checks its operation. messenger.expected_manifest() is
-- generated into the migration from manifest.json.
create or replace function messenger.verify()
returns table (kind text, object text, state text, detail text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  with expected as (
    select e ->> 0 as kind, e ->> 1 as object, e ->> 2 as definition
    from jsonb_array_elements(messenger.expected_manifest()) e
  ),
  difference as (
    select coalesce(e.kind, a.kind) as kind, coalesce(e.object, a.object) as object,
      case when a.object is null then 'missing' when e.object is null then 'unexpected' else 'different' end as state,
      case
        when a.object is null then e.definition
        when e.object is null then a.definition
        else 'is ' || coalesce(a.definition, '-') || '; should be ' || coalesce(e.definition, '-')
      end as detail
    from expected e full join messenger.manifest() a on a.kind = e.kind and a.object = e.object
    where a.object is null or e.object is null or a.definition is distinct from e.definition
  ),
  operation as (
    select 'operation' as kind, c.name as object, case c.status when 'healthy' then 'ok' else c.status end as state,
    concat_ws('; ', c.detail, c.remedy) as detail
    from messenger.health_checks() c
    where c.name in ('checks', 'clock', 'clock_errors', 'own_rows', 'rights', 'pg_net', 'worker_secret', 'test_clock')
  )
  select d.kind, d.object, d.state, d.detail from difference d
  union all
  select 'catalog', 'all', 'ok', (select count(*) from expected) || ' objects as released'
  where not exists (select from difference)
  union all
  select o.kind, o.object, o.state, o.detail from operation o
$$;

create or replace function public.messenger_verify()
returns table (kind text, object text, state text, detail text)
language sql
set search_path = pg_catalog, pg_temp
as $$ select v.* from messenger.require_primary(), messenger.verify() v $$;

comment on function messenger.verify() is 'See public.messenger_verify.';
comment on function public.messenger_verify() is
  'Compares the objects of this database with the release (state: missing, unexpected or different; one row with ok '
  'if nothing differs) and checks operation: the ticker, required rows, rights, wake-ups, the worker secret, and '
  'that no test clock is installed. Raises SM_UNAVAILABLE on a read replica. Example: select * from '
  'messenger_verify() where state <> ''ok'';';
revoke all on function messenger.verify(), public.messenger_verify() from public, anon, authenticated, service_role;
grant execute on function messenger.verify(), public.messenger_verify() to service_role;
