-- The life of a message: dispatched, claimed and completed; or failed, retried and moved to the dead letters.
begin;
set local client_min_messages = warning;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(33);

-- Uses its own queue, so that other messages in this database are not claimed.
create temporary table sent on commit drop as
select * from messenger_dispatch('PgtapLife', '{"n": 1}', queue => 'pgtap', priority => 7,
  idempotency_key => 'pgtap-once');
select results_eq(
  'select duplicate, status, transport, queue from sent', $$ values (false, 'pending', 'supabase', 'pgtap') $$,
  'a dispatch returns the stored message'
);
select results_eq(
  $$ select d.id, d.duplicate from messenger_dispatch('PgtapLife', '{"n": 1}', queue => 'pgtap',
    idempotency_key => 'pgtap-once') d $$, 'select id, true from sent',
  'the same key again is the same message'
);
select throws_ok(
  $$ select messenger_dispatch('PgtapLife', '{"n": 2}', queue => 'pgtap', idempotency_key => 'pgtap-once') $$, 'PT409',
  null,
  'the same key for another payload is rejected'
);
select throws_ok($$ select messenger_dispatch('no type') $$, 'PT400', null, 'a malformed type is rejected');

create temporary table taken on commit drop as select *
  from messenger_claim('pgtap-worker', 10, '1 minute', queues => array['pgtap']);
select results_eq(
  'select id, message_type, queue_name, body, priority, retry_count, fence, solo from taken',
  $$ select id, 'PgtapLife', 'pgtap', '{"n": 1}'::jsonb, 7, 0, 1::bigint, false from sent $$,
  'a claim hands out the message with its first fence'
);
select results_eq(
  'select m.status, m.locked_by, m.lock_expires_at from messenger_messages m join sent using (id)',
  $$ select 'processing', 'pgtap-worker', lock_expires_at from taken $$,
  'the claimed message is processing, under a lease'
);
select is_empty($$ select * from messenger_claim('pgtap-other', queues => array['pgtap']) $$,
  'no other worker gets it');
select results_eq(
  $$ select h.outcome, h.cancel_requested
    from taken t,
      messenger_heartbeat(jsonb_build_array(jsonb_build_object('id', t.id, 'fence', t.fence, 'progress', 50)),
        '5 minutes') h $$,
  $$ values ('extended', false) $$,
  'a heartbeat extends the lease'
);
select ok(m.lock_expires_at > t.lock_expires_at and m.progress = '50', 'and stores the progress')
from messenger_messages m join taken t using (id);

select is(messenger_complete(id, fence - 1), 'stale', 'an old fence completes nothing') from taken;
select throws_ok(format('select messenger_complete(%L, %s, strict => true)', id, fence - 1), 'PT409', null,
  'and raises with strict') from taken;
select is(messenger_complete(id, fence, '{"done": true}'), 'completed', 'the fence of the lease completes') from taken;
select is(messenger_complete(id, fence, '{"done": true}'), 'already', 'a completion can be repeated after a lost reply')
from taken;
select is(outcome, 'stale', 'a completed message cannot fail any more')
from taken t, messenger_fail(t.id, t.fence, 'too late');
select results_eq(
  'select m.status, m.result, m.processed_at is not null, m.locked_by from messenger_messages m join sent using (id)',
  $$ values ('completed', '{"done": true}'::jsonb, true, null::text) $$,
  'the row has the status and the result'
);
select is(messenger_complete('00000000-0000-4000-8000-000000000000', 1), 'unknown',
  'completing a message that does not exist returns unknown');

-- One retry, then the dead letters.
create temporary table poison on commit drop as select *
  from messenger_dispatch('PgtapPoison', '{"bad": true}', queue => 'pgtap', max_retries => 1);
create temporary table first on commit drop as select * from messenger_claim('pgtap-worker', queues => array['pgtap']);
select results_eq('select id, fence, max_retries from first', 'select id, 1::bigint, 1 from poison',
  'the next message is handed out');
create temporary table outcome on commit drop as select v.*
  from first f, messenger_fail(f.id, f.fence, 'out of paper', 'PrinterError', retry_after => '0 seconds') v;
select results_eq('select outcome from outcome', $$ values ('retry') $$, 'a first failure is a retry');
select results_eq(
  'select m.status, m.retry_count, m.last_error, m.locked_by from messenger_messages m join poison using (id)',
  $$ values ('pending', 1, 'out of paper', null::text) $$,
  'the message is pending again and has the error'
);
select is_empty('select f.id from messenger_failed_messages f join poison p on p.id = f.message_id',
  'it is no dead letter yet');
select is(outcome, 'already', 'the same failure again changes nothing')
from first f, messenger_fail(f.id, f.fence, 'out of paper');

create temporary table second on commit drop as select * from messenger_claim('pgtap-worker', queues => array['pgtap']);
select results_eq('select id, fence, retry_count from second', 'select id, 2::bigint, 1 from poison',
  'it is handed out again with a higher fence');
select is(messenger_complete(f.id, f.fence), 'stale', 'the first lease is no longer valid') from first f;
select is(outcome, 'dead', 'without retries left it is dead')
from second s, messenger_fail(s.id, s.fence, 'still out of paper', 'PrinterError');
select results_eq(
  'select m.status, m.retry_count, m.processed_at is not null from messenger_messages m join poison using (id)',
  $$ values ('failed', 2, true) $$,
  'the message has failed'
);
select results_eq(
  'select f.message_type, f.body, f.error, f.retry_count, f.resolved_at from messenger_failed_messages f join poison p '
  'on p.id = f.message_id',
  $$ values ('PgtapPoison', '{"bad": true}'::jsonb, 'still out of paper', 2, null::timestamptz) $$,
  'it has one open dead letter'
);
select results_eq(
  $$ select a.value ->> 'error' from messenger_failed_messages f join poison p on p.id = f.message_id,
  jsonb_array_elements(f.attempts) with ordinality a(value, n) order by a.n $$,
  $$ values ('out of paper'), ('still out of paper') $$,
  'with every attempt in it'
);
select results_eq(
  $$ select failed_count from messenger_failed_summary where queue_name = 'pgtap' $$, $$ values (1::bigint) $$,
  'the summary counts it'
);
select is_empty($$ select * from messenger_claim('pgtap-worker', queues => array['pgtap']) $$,
  'a dead message is not handed out');

-- Delayed, released, not due.
create temporary table later on commit drop as select *
  from messenger_dispatch('PgtapLife', queue => 'pgtap', delay => '1 hour');
select is_empty($$ select * from messenger_claim('pgtap-worker', queues => array['pgtap']) $$,
  'a message that is not due is not handed out');
create temporary table one on commit drop as select o.* from later, messenger_claim_one(later.id, 'pgtap-worker') o;
select is(messenger_release(id, fence), 'released', 'a message can be handed back') from one;
select results_eq(
  'select m.status, m.retry_count from messenger_messages m join later using (id)', $$ values ('pending', 0) $$,
  'which uses up no retry'
);
select is_empty('select a.invariant, a.violations from messenger_audit() a where a.violations <> 0',
  'and all invariants hold');

select * from finish();
rollback;
