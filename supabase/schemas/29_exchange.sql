-- Exchange: verdicts and the next messages in one round trip and one commit, which is how workers run.

-- Types of its own for the parts of what exchange answers: functions that return them would be unknown to the API's generated types.
do $$
begin
  if to_regtype('messenger.exchanged') is null then
    create type messenger.settled as (id uuid, outcome text, available_at timestamptz);
    create type messenger.claimed as (
      id uuid, message_type text, queue_name text, body jsonb, headers jsonb, metadata jsonb, priority int, retry_count int, max_retries int, fence bigint,
      lock_expires_at timestamptz, created_at timestamptz, solo boolean
    );
    create type messenger.exchanged as (settled messenger.settled[], claimed messenger.claimed[]);
  end if;
end $$;
comment on type messenger.settled is 'A row of messenger_settle.';
comment on type messenger.claimed is 'A row of messenger_claim.';
comment on type messenger.exchanged is 'What messenger_exchange answers, before it is JSON.';

create or replace function public.messenger_exchange(
  outcomes jsonb, worker text, batch int default 10, lease interval default '60 s', transport text default null, queues text[] default null, types text[] default null
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- In one pass: rows aggregated to jsonb and then put into an object are serialized three times (5.5 us a row against 3.2).
  return (
    select to_jsonb(row(s.settled, c.claimed)::messenger.exchanged)
    from (
      select array(select row(x.id, x.outcome, x.available_at)::messenger.settled from public.messenger_settle(outcomes) x) as settled
      offset 0
    ) s
    -- The worker's name comes by way of what was settled, so that settling comes first.
    cross join lateral (
      select array(
        select row(x.id, x.message_type, x.queue_name, x.body, x.headers, x.metadata, x.priority, x.retry_count, x.max_retries, x.fence, x.lock_expires_at,
          x.created_at, x.solo)::messenger.claimed
        from public.messenger_claim(case when s.settled is not null then worker end, batch, lease, transport, queues, types) x
      ) as claimed
    ) c
  );
end $$;

comment on function public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]) is
  'messenger_settle and messenger_claim in one transaction: {"settled": [...], "claimed": [...]}.';
revoke all on function public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]) from public, anon, authenticated;
grant execute on function public.messenger_exchange(jsonb, text, int, interval, text, text[], text[]) to service_role;
