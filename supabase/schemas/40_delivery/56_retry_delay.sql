-- How long a message waits before its next delivery.

-- Exponential and capped. The jitter is added after the cap: a delivery is never earlier than the policy requires.
create or replace function messenger.retry_delay(message_type text, failures int)
returns interval
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select make_interval(secs =>
      least(policy.max_delay_ms, policy.delay_ms * power(policy.multiplier, least(failures - 1, 100)))
        * (1 + policy.jitter * random()) / 1000)
    from (
      select coalesce(max(k.retry_delay_ms), 1000)::double precision as delay_ms,
        coalesce(max(k.retry_multiplier), 2) as multiplier,
        coalesce(max(k.retry_max_delay_ms), 600000)::double precision as max_delay_ms,
        coalesce(max(k.retry_jitter), 0.2) as jitter
      from messenger.message_types k where k.type = retry_delay.message_type
    ) policy
  );
end $$;

comment on function messenger.retry_delay(text, int) is
  'The wait before the next delivery after this number of failures, by the policy of the type.';
revoke all on function messenger.retry_delay(text, int) from public, anon, authenticated;
grant execute on function messenger.retry_delay(text, int) to service_role;
