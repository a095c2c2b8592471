-- Checks the invariants of the schema, which hold in every snapshot under any load.
create or replace function public.messenger_audit()
returns table (invariant text, violations bigint)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with message as materialized (
    select m.id, m.status, m.error_class, m.created_by, m.fence, m.retry_count, m.max_retries, m.processed_at,
      m.locked_at, m.locked_by, m.lock_expires_at,
      m.idempotency_key, m.available_at, m.updated_at, m.ordering_key, m.ordering_seq, m.transport_name, m.queue_name,
      m.headers ->> 'x-scheduled-for' as scheduled_for,
      m.headers ->> 'x-schedule' as schedule
    from public.messenger_messages m
  ),
  dead_letter as materialized (
    select f.message_id, count(*) as open from public.messenger_failed_messages f
    where f.resolved_at is null group by f.message_id
  )
  select 'I2 a message that failed for good has exactly one open dead letter, and only those have',
    (select count(*) from message m full join dead_letter l on l.message_id = m.id
     -- A user's message with an invalid payload has no dead letter; release 0.1.0 created one.
     where coalesce(m.status = 'failed' and m.error_class = 'InvalidPayload' and m.created_by is not null
       and coalesce(l.open, 1) = 1, false) is false
       and (m.status = 'failed' and coalesce(m.error_class, '') not in ('Expired', 'Cancelled',
         'Discarded')) is distinct from (l.open = 1 and l.open is not null))
  union all
  select 'I3 processing if and only if there is a lease',
    (select count(*) from message m where (m.status = 'processing') is distinct from (m.locked_by is not null
      and m.lock_expires_at is not null and m.locked_at is not null))
  union all
  select 'I4 an unfinished message with an idempotency key is the one its key names',
    (select count(*) from message m where m.idempotency_key is not null and m.processed_at is null
     and not exists (select from messenger.idempotency_keys k where k.message_id = m.id and k.key = m.idempotency_key))
  union all
  select 'I5 retry_count is at most max_retries + 1, and fence at least retry_count',
    (select count(*) from message m where m.retry_count > m.max_retries + 1 or m.fence < m.retry_count)
  union all
  select 'I6 no recorded attempt has a higher fence than its message',
    (select count(*) from messenger.attempts a join message m on m.id = a.message_id where a.fence > m.fence)
  union all
  select 'I7 processed_at is set exactly on finished messages',
    (select count(*) from message m
      where (m.processed_at is null) is distinct from (m.status in ('pending', 'processing')))
  union all
  select 'I8 no lease is overdue by more than two minutes while the ticker runs',
    (select count(*) from message m, messenger.clock c
     where m.status = 'processing' and m.lock_expires_at < messenger.now() - interval '2 minutes'
       and c.last_tick_at > messenger.now() - interval '10 seconds')
  union all
  -- A race may leave a message blocked; the ticker unblocks it within a second.
  select 'I9 at most one message of an ordering key is in flight, and a blocked one waits for a predecessor or a dead '
    'letter',
    (select count(*) from (
       select m.transport_name, m.queue_name, m.ordering_key, count(*)
         filter (where m.status = 'processing') as in_flight,
         bool_and(m.available_at = 'infinity')
           and max(m.updated_at) < messenger.now() - interval '10 seconds' as is_stuck
       from message m
       where m.ordering_key is not null and m.processed_at is null
       group by m.transport_name, m.queue_name, m.ordering_key
     ) x, messenger.clock c
     where x.in_flight > 1
       or x.is_stuck and c.last_tick_at > messenger.now() - interval '10 seconds'
         and not messenger.is_held_by_dead_letter(x.transport_name, x.queue_name, x.ordering_key))
  union all
  -- A new schedule may reuse a name and have an occurrence at the same moment. messenger.occurrences records
  -- for 7 days which schedule a message belongs to.
  select 'I10 one message for each occurrence of a schedule',
    (select count(*) from (
       select from messenger.occurrences o left join message m on m.id = o.message_id
       group by o.message_id
       having count(*) > 1
         or bool_or(m.scheduled_for <> to_char(o.due_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
     ) x)
    + (select count(*) from (
       select from message m left join messenger.occurrences o on o.message_id = m.id
       where m.schedule is not null
         and m.scheduled_for > to_char((messenger.now() - interval '6 days') at time zone 'UTC', 'YYYY-MM-DD')
       group by m.schedule, m.scheduled_for
       having count(*) > 1 and count(*) > count(o.message_id)
     ) x)
$$;

comment on function public.messenger_audit() is
  'Checks the invariants I2 to I10 in one snapshot: one row per invariant with its text and the number of rows '
  'that violate it, which must be 0. I1 (every acknowledged message is a row or was pruned after it had finished) '
  'is not included: dispatch keeps no record of the ids it has returned other than the rows themselves, because a '
  'shared counter would serialize dispatches, so only the clients that hold the ids can check it. Example: select '
  '* from messenger_audit() where violations > 0;';
revoke all on function public.messenger_audit() from public, anon, authenticated, service_role;
grant execute on function public.messenger_audit() to service_role;
