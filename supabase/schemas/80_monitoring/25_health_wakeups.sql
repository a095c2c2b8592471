-- Health checks of wake-ups: the functions URL, pg_net, and the secrets in Vault.

-- Counts the wake-ups of five minutes; pg_net does not record which caller made a request. The newest
-- response counts whatever its age, or a wrong URL would look healthy while nothing is due. A wake-up that is
-- neither queued nor answered after a minute was dropped: pg_net removes it from the queue when it sends, and
-- stores a response or an error within seconds.
create or replace function messenger.wakeup_figures()
returns table (sent bigint, answered bigint, failed bigint, failed_share numeric, stuck bigint, dropped bigint,
  has_newest_failed boolean, newest_at timestamptz, last_failure text, is_unreachable boolean)
language sql
set search_path = pg_catalog, pg_temp
as $$
  with wakeup as materialized (
    select x.*, x.sent_at > pg_catalog.now() - interval '5 minutes' as is_recent
    from messenger.wakeup_responses('2 hours') x
  ),
  newest as (select w.* from wakeup w where w.answered_at is not null order by w.request_id desc limit 1),
  failure as (
    select coalesce(w.error, 'HTTP ' || w.status_code) as text,
      w.status_code is null and w.error collate "C" !~* 'time' as is_unreachable
    from wakeup w where w.has_failed order by w.request_id desc limit 1
  )
  select count(*) filter (where w.is_recent), count(w.answered_at) filter (where w.is_recent),
    count(*) filter (where w.has_failed and w.is_recent),
    round(count(*) filter (where w.has_failed and w.is_recent)::numeric
      / nullif(count(w.answered_at) filter (where w.is_recent), 0), 3),
    count(*) filter (where w.is_queued and w.sent_at < pg_catalog.now() - interval '30 seconds'),
    -- If pg_net keeps responses for less than five minutes, a missing response proves nothing.
    count(*) filter (where w.is_recent and w.answered_at is null and not w.is_queued
      and w.sent_at < pg_catalog.now() - interval '1 minute'
      and coalesce(current_setting('pg_net.ttl', true), '6 hours')::interval >= interval '5 minutes'),
    coalesce((select n.has_failed from newest n), false), (select n.answered_at from newest n),
    (select left(f.text, 300) from failure f),
    coalesce((select f.is_unreachable from failure f), false)
  from wakeup w
$$;

create or replace function messenger.check_pg_net()
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_url text := (select s.functions_url from messenger.settings s);
  v_start constant text := 'select messenger_start(''https://<project>.supabase.co/functions/v1'')';
  v_fault text := messenger.wakeup_fault();
  v_wakeups record;
  v_result messenger.check_result;
begin
  select * into v_wakeups from messenger.wakeup_figures();
  v_result.figures := jsonb_build_object('wakeups', v_wakeups.sent, 'answered', v_wakeups.answered,
    'failed', v_wakeups.failed,
    'failed_share', v_wakeups.failed_share, 'dropped', v_wakeups.dropped);
  v_result.status := 'degraded';
  if v_url is null then
    v_result.detail := 'no functions URL';
    v_result.remedy := v_start;
  elsif to_regclass('net.http_request_queue') is null then
    v_result.detail := 'no pg_net';
    v_result.remedy := 'create extension pg_net';
  elsif v_fault is not null then
    v_result.detail := 'pg_net cannot be called, so no worker is woken: ' || left(v_fault, 300);
    v_result.remedy := 'fix the cause that the error names: a right of the owner of schema messenger on schema net, '
      'a trigger on net.http_request_queue, or pg_net itself';
  elsif v_wakeups.stuck > 0 then
    v_result.detail := v_wakeups.stuck || ' wake-ups have not been sent for 30 s';
    v_result.remedy := 'select net.worker_restart()';
  elsif v_wakeups.failed_share > 0.2 then
    v_result.detail := format(
      '%s of %s wake-ups of the last 5 minutes failed%s: %s', v_wakeups.failed, v_wakeups.answered,
      case when v_wakeups.has_newest_failed then ', the last with'
        else ', but the newest succeeded; the last failure' end,
      v_wakeups.last_failure);
    v_result.status := case when v_wakeups.has_newest_failed and v_wakeups.failed_share > 0.5 then 'unhealthy'
      else 'degraded' end;
  elsif v_wakeups.answered = 0 and v_wakeups.has_newest_failed then
    v_result.detail := format('the last wake-up, answered at %s, failed: %s',
      messenger.moment(v_wakeups.newest_at, pg_catalog.now()), v_wakeups.last_failure);
    v_result.status := 'unhealthy';
  elsif v_wakeups.dropped > 0.2 * v_wakeups.sent then
    v_result.detail := format('%s of %s wake-ups of the last 5 minutes were neither sent nor answered: '
      'something removes them from pg_net''s queue', v_wakeups.dropped, v_wakeups.sent);
    v_result.remedy := 'look for triggers on net.http_request_queue and for jobs that empty the tables of schema net, '
      'then select net.worker_restart()';
  else
    v_result.status := 'healthy';
    v_result.detail := v_url;
  end if;
  v_result.remedy := coalesce(v_result.remedy, case
    when v_wakeups.is_unreachable then format('the functions URL %s is not reachable; set another: %s', v_url, v_start)
    else '401: the worker''s secret differs from the one in Vault; 404: deploy the worker, or correct the functions '
      'URL; '
      'otherwise look into the worker''s log' end);
  return next v_result;
end $$;

create or replace function messenger.health_pg_net(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.check_pg_net() $$;

create or replace function messenger.health_worker_secret(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select
    case when w.secret is null then 'unhealthy' when n.fault is not null then 'degraded' else 'healthy' end,
    case when w.fault is not null then 'in Vault, but it cannot be decrypted: ' || left(w.fault, 300)
      when w.secret is null then 'not in Vault'
      when n.fault is not null
        then 'symphony_worker_secret_next is in Vault, but it cannot be decrypted: ' || left(n.fault, 300)
      else 'in Vault' end,
    case when w.secret is null then 'select messenger_start()'
      else 'delete from vault.secrets where name = ''symphony_worker_secret_next''; then start the rotation again' end,
    jsonb_build_object('secrets', (w.secret is not null)::int + (n.secret is not null)::int)
  from messenger.read_secret('symphony_worker_secret') w, messenger.read_secret('symphony_worker_secret_next') n
$$;

create or replace function messenger.health_webhook_secrets(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(u.name) = 0 then 'healthy' else 'degraded' end,
    coalesce('webhooks are not sent, because Vault has no readable secret named '
      || string_agg(distinct u.name, ', '), 'all secrets can be decrypted'),
    'delete the secret of that name from Vault and store it again with vault.create_secret; the receiver of the '
    'webhook has its value',
    jsonb_build_object('unreadable', count(distinct u.name))
  from messenger.subscriptions s
  left join lateral (
    select s.secret_name as name from messenger.read_secret(s.secret_name) r where r.secret is null
  ) u on true
  where s.kind = 'webhook' and s.enabled
  having count(*) > 0
$$;

comment on function messenger.wakeup_figures() is
  'Counts of the wake-ups of five minutes, and the result of the newest one of two hours.';
comment on function messenger.check_pg_net() is 'See messenger.health_pg_net.';
comment on function messenger.health_pg_net(timestamptz) is
  'The wake-ups of 5 minutes: degraded without a functions URL or pg_net, if pg_net cannot be called or drops '
  'wake-ups, if one has not been sent for 30 s, or if more than 20 percent failed; unhealthy if more than 50 percent '
  'failed and the newest did too, or if the newest of 2 hours failed.';
comment on function messenger.health_worker_secret(timestamptz) is
  'Unhealthy if Vault has no worker secret that can be decrypted.';
comment on function messenger.health_webhook_secrets(timestamptz) is
  'A webhook whose secret is missing or cannot be decrypted: degraded. Returns no row without webhooks.';
revoke all on function
  messenger.check_pg_net(),
  messenger.wakeup_figures(),
  messenger.health_pg_net(timestamptz),
  messenger.health_worker_secret(timestamptz),
  messenger.health_webhook_secrets(timestamptz)
from public, anon, authenticated, service_role;
