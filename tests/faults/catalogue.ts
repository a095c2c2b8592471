// The tests that prove recovery from each fault. The deterministic tests come before the soak, which alone notices few
// planted bugs.

export interface Fault {
  id: string;
  what: string;
  /** Names of the tests, by file below tests/. */
  tests: Record<string, string[]>;
}

export const FAULTS: readonly Fault[] = [
  {
    id: "F1",
    what: "kill -9 of a worker during a batch",
    tests: {
      "faults/worker_killed.test.ts": [
        "worker killed · three times during a batch: all messages complete, none is lost or dead",
      ],
      "supabase/delivery/lost_leases.test.ts": ["claim · a message whose lease has expired is handed out alone"],
    },
  },
  {
    id: "F2",
    what: "an isolate at its limits releases the messages that it has not started",
    tests: {
      "faults/worker_retired.test.ts": [
        "worker retired · at its wall clock limit unstarted messages are released, running ones settled",
      ],
      "shared/worker/consume.test.ts": [
        "consume · when the isolate ends, unstarted messages are released, finished ones settled",
        "consume · stops claiming when the isolate is old, and finishes the running messages",
      ],
    },
  },
  {
    id: "F3",
    what: "kill -9 of a backend during a transaction",
    tests: {
      "faults/backend_killed.test.ts": [
        "backend killed · during a dispatch: no message is stored, and its key is free",
        "backend killed · during a settle: the worker keeps the message, and the repeated outcome counts",
        "backend killed · during a claim: the message is due as before",
        "backend killed · pg_terminate_backend ends one session, a dispatch waiting for its key is stored",
      ],
    },
  },
  {
    id: "F4",
    what: "kill -9 of the postmaster, immediate stops",
    tests: {
      "faults/backend_killed.test.ts": [
        "backend killed · kill -9 of the postmaster: committed messages and leases are restored, no others",
      ],
      "faults/database_restarted.test.ts": [
        "database restarted · three immediate stops during work: no acknowledged message is lost",
        "database restarted · the ticker resumes, and the next message is handled",
      ],
    },
  },
  {
    id: "F5",
    what: "a connection cut after the commit and before the reply",
    tests: {
      "faults/reply_lost.test.ts": [
        "reply lost · of a dispatch: the edge function returns 503, the same key returns the stored message",
        "reply lost · of a settle: the worker repeats the outcome, which is reported as recorded already",
        "reply lost · of a claim: no worker runs the message until the lease expires, then one does",
      ],
      "supabase/delivery/exchange.test.ts": [
        "exchange · repeated after a lost reply, outcomes are already recorded, first rows stay leased",
      ],
    },
  },
  {
    id: "F6",
    what: "a worker stopped past its lease and continued",
    tests: {
      "faults/stale_worker.test.ts": [
        "stale worker · stopped past its lease, its late outcome is rejected and changes nothing",
        "stale worker · its late outcome is rejected while the second worker still runs, too",
        "stale worker · the outcome counts if the lease has expired and no other worker has the message",
      ],
    },
  },
  {
    id: "F7",
    what: "a handler slower than its lease, with and without heartbeats",
    tests: {
      "faults/slow_handler.test.ts": [
        "slow handler · with heartbeats it runs for three leases and no other worker claims its message",
        "slow handler · without heartbeats: the second worker's outcome counts, the first one's is rejected",
      ],
    },
  },
  {
    id: "F8",
    what: "many connections, one key, winners that roll back",
    tests: {
      "supabase/dispatch/idempotency_races.test.ts": [
        "race · when the first dispatch rolls back, the waiting one is stored",
        "race · of a hundred dispatches on ten connections one is stored and reported as new",
        "race · with random rollbacks, every committed reply has the id of the one stored row",
      ],
    },
  },
  {
    id: "F9",
    what: "wake-ups lost and doubled",
    tests: {
      "faults/wakeups_lost.test.ts": [
        "wake-ups lost · a message without any wake-up is handled when the ticker sends wake-ups again",
        "wake-ups lost · half of them lost and a fifth doubled: all of 200 messages are handled once",
      ],
    },
  },
  {
    id: "F10",
    what: "the ticker's job stopped, pg_cron's launcher ended",
    tests: {
      "faults/clock_faults.test.ts": [
        "ticker stopped · health is unhealthy within two minutes, and dispatches wake workers themselves",
        "launcher stopped · without pg_cron's launcher health is unhealthy, and dispatches wake workers themselves",
        "scheduler edge function · one external call is a tick and makes health healthy again",
      ],
    },
  },
  {
    id: "F11",
    what: "the clock +1 h, -2 h, +1 day",
    tests: {
      "faults/clock_faults.test.ts": [
        "clock steps · an hour forward, two back, a day forward: all complete, late outcomes are rejected",
      ],
      "supabase/delivery/claim.test.ts": [
        "clock · moved back, due messages are hidden for at most the distance of the move",
        "clock · moved back, the owner keeps its lease and the worker's poll is still recorded",
      ],
      "supabase/delivery/watermark_settings.test.ts": ["scan watermarks · a clock that steps back resets them"],
    },
  },
  {
    id: "F12",
    what: "a snapshot held under load",
    tests: {
      "faults/many_due.test.ts": [
        "held snapshot · thousands are handled beside the index entries it keeps, later messages are found",
      ],
      "supabase/delivery/watermark_settings.test.ts": [
        "scan watermarks · a transaction that commits late is found within five seconds",
      ],
    },
  },
  {
    id: "F13",
    what: "a full disk, then free space",
    tests: {
      "faults/disk_full.test.ts": [
        "disk full · acknowledged messages are kept, rejected ones are not stored, and work resumes with free space",
      ],
    },
  },
  {
    id: "F14",
    what: "statement_timeout inside dispatch, claim, settle, tick",
    tests: {
      "faults/statement_timeout.test.ts": [
        "statement timeout · during a dispatch: nothing is stored, and its key is free",
        "statement timeout · during a claim: nothing is claimed, and the next claim returns the message",
        "statement timeout · at one row of a settle: no outcome is recorded, the same ones count later",
        "statement timeout · during an exchange, after its settle: the settle is rolled back with it",
        "statement timeout · during a step of a tick: that step is rolled back and retried, others have run",
      ],
    },
  },
  {
    id: "F15",
    what: "settles, heartbeats and keyed batches in opposite orders",
    tests: {
      "supabase/delivery/settle_limits.test.ts": [
        "race · two settles in opposite order do not deadlock",
        "race · a settle skips a locked row, records the others, and is repeated for that row",
      ],
      "supabase/delivery/heartbeat.test.ts": [
        "race · a heartbeat extends the unlocked leases, and reports a cancel request for a locked row",
      ],
      "supabase/dispatch/idempotency_races.test.ts": [
        "race · two batches with their keys in opposite order do not deadlock",
        "race · two batches wait for the first key they share, without a deadlock",
      ],
    },
  },
  {
    id: "F16",
    what: "poison messages: always failing, killing their worker, unreadable, with huge errors",
    tests: {
      "faults/worker_killed.test.ts": [
        "worker killed · a message that kills its worker each time becomes a dead letter, others complete",
      ],
      "supabase/delivery/settle.test.ts": [
        "failed · max_retries n allows n + 1 deliveries, then the dead letter has all their errors",
      ],
      "supabase/delivery/lost_leases.test.ts": [
        "exhausted · a poison message that kills every worker does not affect other messages",
      ],
      "supabase/delivery/settle_limits.test.ts": [
        "error · a text of exactly 8 KB is kept whole, one of 1 MB is accepted",
      ],
      "shared/worker/execute.test.ts": [
        "execute · a payload that no longer fits its type is never retried and never handled",
        "execute · error texts lose NUL, secrets, half characters and everything beyond 8 KB",
      ],
    },
  },
  {
    id: "F17",
    what: "thousands of messages due at one instant",
    tests: {
      "faults/many_due.test.ts": [
        "many due · five thousand at one instant: none before it, then each once, in dispatch order",
      ],
    },
  },
  {
    id: "F18",
    what: "connections exhausted: 503 with Retry-After",
    tests: {
      "faults/connections_exhausted.test.ts": [
        "connections exhausted · a dispatch receives 503, its repetition is stored once; the worker resumes",
      ],
    },
  },
  {
    id: "F21",
    what: "objects and locks of the project",
    tests: {
      "faults/foreign_locks.test.ts": [
        "row locks · of an idle transaction: all other messages are claimed, completed, rescued and pruned",
        "row locks · a strict completion, a cancel and an exchange do not wait for them",
        "claims · an open claim of the same worker or of another does not block the claim of other messages",
        "foreign key · an insert that refers to a message does not block its completion or a later pruning",
        "trigger · one that rejects updates of a message blocks its outcome only, until the trigger is gone",
        "ddl · while a table of the bus is altered, the ticker keeps its pace, and other work continues",
        "serializable · as the database's default: workers complete all once, the ticker keeps its pace",
      ],
      "supabase/ticker/set_aside.test.ts": [
        "foreign key · a message that a project's table refers to stays, a thousand others are pruned",
        "foreign key · a deferred one, and one whose row is being inserted, do not affect other messages",
        "trigger · a dead letter, a key and an occurrence that cannot be deleted stay, others do not",
        "trigger · a lost message that cannot be updated does not block the rescue of others",
      ],
      "supabase/ticker/tick_steps.test.ts": [
        "steps · a constraint that the project has deferred fails the step that violates it, not the commit",
        "locks · the ticker continues while its own tables are locked",
        "ticks · a tick in an open transaction blocks no other tick, and health counts the others",
      ],
      "supabase/ticker/ticker_settings.test.ts": [
        "settings · the ticker ignores every timeout of its session, and is read committed and writable",
      ],
    },
  },
];
