// Which test proves that which fault is survived. The interleavings of a fault come before the soak: they caught every planted bug, a soak alone few.

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
        "worker killed · a message that kills its worker each time ends in the dead letters, its neighbour completes",
      ],
      "supabase/lost_leases.test.ts": [
        "claim · a message whose lease ran out is handed out alone",
        "exhausted · a poison message that kills every worker takes nobody with it",
      ],
    },
  },
];
