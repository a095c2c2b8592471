// Which tests prove that which fault is survived. The deterministic ones come before the soak: a soak alone notices few planted bugs.

export interface Fault {
  id: string;
  what: string;
  /** By file below tests/, the names of the tests. */
  tests: Record<string, string[]>;
}

export const FAULTS: readonly Fault[] = [
  {
    id: "F1",
    what: "kill -9 of a worker in mid-batch",
    tests: {
      "faults/worker_killed.test.ts": [
        "worker killed · three times in mid-batch: all messages complete, none is lost or dead",
      ],
      "supabase/lost_leases.test.ts": ["claim · a message whose lease ran out is handed out alone"],
    },
  },
  {
    id: "F2",
    what: "an isolate at its limits hands back what it has not started",
    tests: {
      "faults/worker_retired.test.ts": [
        "worker retired · at its wall clock the unstarted goes back, the finished is settled, the next isolate goes on",
      ],
      "shared/worker/consume.test.ts": [
        "consume · when the isolate ends, the unstarted go back and the finished are settled",
        "consume · stops claiming when the isolate is old, finishes what runs",
      ],
    },
  },
  {
    id: "F3",
    what: "kill -9 of a backend in mid-transaction",
    tests: {
      "faults/backend_killed.test.ts": [
        "backend killed · in the middle of a dispatch: no message, and its key is free",
        "backend killed · in the middle of a settle: the message stays its worker's, whose outcome counts when it is repeated",
        "backend killed · in the middle of a claim: the message is due as if nobody had asked",
        "backend killed · only its own session ends when it is terminated, and another's dispatch that waited for its key is stored",
      ],
    },
  },
  {
    id: "F4",
    what: "kill -9 of the postmaster, immediate stops",
    tests: {
      "faults/backend_killed.test.ts": [
        "backend killed · kill -9 of the postmaster: committed messages and leases are there again, others are not",
      ],
      "faults/database_restarted.test.ts": [
        "database restarted · stopped at once three times in mid-work: no acknowledged message is lost",
        "database restarted · the clock ticks again, and the next message is handled",
      ],
    },
  },
  {
    id: "F5",
    what: "a connection cut after the commit and before the reply",
    tests: {
      "faults/reply_lost.test.ts": [
        "reply lost · of a dispatch: the edge function says not now, and the same key answers the message that was stored",
        "reply lost · of a settle: the worker says it again and is told that it counted",
        "reply lost · of a claim: the message is nobody's until the lease ends, then it is handed out again",
      ],
      "supabase/exchange.test.ts": [
        "exchange · repeated after a lost reply, the outcomes are already and the first claim's rows stay leased",
      ],
    },
  },
  {
    id: "F6",
    what: "a worker stopped past its lease and continued",
    tests: {
      "faults/stale_worker.test.ts": [
        "stale worker · stopped past its lease, its late outcome is rejected and changes nothing",
        "stale worker · rejected while the other still runs, too",
        "stale worker · a lease that ran out but was not taken over still counts",
      ],
    },
  },
  {
    id: "F7",
    what: "a handler slower than its lease, with and without heartbeats",
    tests: {
      "faults/slow_handler.test.ts": [
        "slow handler · with heartbeats it runs for three leases and nobody takes its message",
        "slow handler · whose heartbeats do not arrive: another has the last word, and the first is told",
      ],
    },
  },
  {
    id: "F8",
    what: "many connections, one key, winners that roll back",
    tests: {
      "supabase/idempotency_races.test.ts": [
        "race · when the first rolls back, the one that waited is stored",
        "race · of a hundred dispatches on ten connections one is stored, and exactly one hears so",
        "race · with winners that roll back at random, every answer that committed names the one row",
      ],
    },
  },
  {
    id: "F9",
    what: "wake-ups lost and doubled",
    tests: {
      "faults/wakeups_lost.test.ts": [
        "wake-ups lost · a message whose every wake-up was lost is handled when the clock wakes again",
        "wake-ups lost · half of them lost and a fifth doubled: all of 200 messages are handled, each once",
      ],
    },
  },
  {
    id: "F10",
    what: "the clock job stopped, pg_cron's launcher gone",
    tests: {
      "faults/clock_faults.test.ts": [
        "clock stopped · health is red within two minutes, and dispatches bring their own worker",
        "launcher stopped · pg_cron's launcher is gone: health is red, and dispatches bring their own worker",
        "scheduler edge function · one call from outside is a tick, and health is green again",
      ],
    },
  },
  {
    id: "F11",
    what: "the clock +1 h, -2 h, +1 day",
    tests: {
      "faults/clock_faults.test.ts": [
        "clock steps · an hour forward, two back, a day forward, with messages in flight: all complete, late outcomes are rejected",
      ],
      "supabase/claim.test.ts": [
        "clock · moved back, what was due is hidden no longer than the clock was moved",
        "clock · moved back, a lease stays its owner's and the worker's poll is still written",
      ],
      "supabase/watermark_settings.test.ts": ["marks · a clock that steps back drops them"],
    },
  },
  {
    id: "F12",
    what: "a snapshot held under load",
    tests: {
      "faults/many_due.test.ts": [
        "held snapshot · thousands are handled although it keeps their index entries, and what comes next is found",
      ],
      "supabase/watermark_settings.test.ts": ["marks · a transaction that commits late is found within five seconds"],
    },
  },
  {
    id: "F13",
    what: "the disk full, then freed",
    tests: {
      "faults/disk_full.test.ts": [
        "disk full · acknowledged messages are kept, rejected ones are not stored, and freed, all goes on",
      ],
    },
  },
  {
    id: "F14",
    what: "statement_timeout inside dispatch, claim, settle, tick",
    tests: {
      "faults/statement_timeout.test.ts": [
        "statement timeout · inside a dispatch: nothing is stored, and its key is free",
        "statement timeout · inside a claim: nothing is claimed, and the next claim has it",
        "statement timeout · inside a settle of many, at one row: none is settled, and the same outcomes count later",
        "statement timeout · inside an exchange, after its settle: the settle is undone with it",
        "statement timeout · inside a step of a tick: that step is undone and tried again, the others have run",
      ],
    },
  },
  {
    id: "F15",
    what: "settles, heartbeats and keyed batches in opposite orders",
    tests: {
      "supabase/settle_limits.test.ts": [
        "race · two settles in opposite order do not deadlock",
        "race · a settle passes over a row that is locked, records the others, and is sent again for it",
      ],
      "supabase/heartbeat.test.ts": [
        "race · a heartbeat extends what it can, and tells of a cancel request on a row that is locked",
      ],
      "supabase/idempotency_races.test.ts": [
        "race · two batches with their keys in opposite order do not deadlock",
        "race · two batches wait for the first key they share, not crosswise",
      ],
    },
  },
  {
    id: "F16",
    what: "poison: always fails, kills its worker, cannot be read, huge errors",
    tests: {
      "faults/worker_killed.test.ts": [
        "worker killed · a message that kills its worker each time ends in the dead letters, its neighbour completes",
      ],
      "supabase/settle.test.ts": [
        "failed · max_retries n are n + 1 deliveries, then the dead letter holds them all",
      ],
      "supabase/lost_leases.test.ts": ["exhausted · a poison message that kills every worker takes nobody with it"],
      "supabase/settle_limits.test.ts": ["error · of exactly 8 KB is whole, of 1 MB is taken"],
      "shared/worker/execute.test.ts": [
        "execute · a payload that no longer fits its type is never retried and never handled",
        "execute · error texts lose NUL, secrets, half characters and what exceeds 8 KB",
      ],
    },
  },
  {
    id: "F17",
    what: "thousands due at one instant",
    tests: {
      "faults/many_due.test.ts": [
        "many due · five thousand at one instant: nobody before it, then each once, in the order they were sent",
      ],
    },
  },
  {
    id: "F18",
    what: "connections exhausted: 503 with Retry-After",
    tests: {
      "faults/connections_exhausted.test.ts": [
        "connections exhausted · dispatch is told to try again, and is stored once when it does; the worker goes on",
      ],
    },
  },
  {
    id: "F21",
    what: "the project's own objects and locks",
    tests: {
      "faults/foreign_locks.test.ts": [
        "row locks · of an idle transaction, in any mode: all other messages are claimed, completed, rescued and pruned",
        "row locks · a strict completion, a cancel and an exchange wait for nobody either",
        "claims · an open one, of the same worker or of another, keeps nobody from claiming the rest",
        "foreign key · an insert that refers to a message keeps nobody from completing it; with retention 0 pruning deletes it later",
        "trigger · one that forbids to change a message costs its outcome alone, and it is settled once the trigger is gone",
        "ddl · while a table of the bus is being changed, the ticker keeps its pace, and what does not need it goes on",
        "serializable · the default of a database: four workers complete everything once, and the ticker keeps its pace",
      ],
      "supabase/set_aside.test.ts": [
        "foreign key · a message that a table of the project refers to stays, the thousand around it are pruned",
        "foreign key · one that is deferred, and one whose row is just being inserted, harm nobody else",
        "trigger · a dead letter, a key and an occurrence that may not be deleted stay alone",
        "trigger · a lost message that may not be updated keeps no other from being rescued",
      ],
      "supabase/tick_steps.test.ts": [
        "steps · a constraint that the project has deferred fails the step that violates it, not the commit",
        "locks · the ticker goes on while its own tables are locked",
        "ticks · one that stays open in a transaction stops no other, and health counts the others",
      ],
      "supabase/clock_settings.test.ts": [
        "settings · the ticker outlives every timeout of its session, and is read committed and writable",
      ],
    },
  },
];
