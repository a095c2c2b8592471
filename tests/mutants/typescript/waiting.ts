// Planted bugs of the consume loop's waits in the database.
import type { TypeScriptMutant } from "../mutant.ts";

const consume = "shared/worker/consume.ts";
const pace = "shared/worker/poll_pace.ts";
const waits = ["shared/worker/consume_wait.test.ts"];

export const WAITING: readonly TypeScriptMutant[] = [
  {
    name: "a worker with a handler in flight waits in the database",
    breaks: "An outcome is sent as soon as its handler has finished.",
    file: consume,
    find: "this.#tasks.size === 0 && this.#selections",
    replace: "this.#selections",
    noticedBy: waits,
  },
  {
    name: "a worker with several selections waits in the database",
    breaks: "A poll that waits for one selection delays the messages of the others.",
    file: consume,
    find: "this.#selections.length === 1 && ",
    replace: "",
    noticedBy: waits,
  },
  {
    name: "a worker with an outcome to repeat waits in the database",
    breaks: "An outcome whose row was locked is repeated after its pause.",
    file: consume,
    find: " && this.#outbox.nextDue === Infinity",
    replace: "",
    noticedBy: waits,
  },
  {
    name: "a run waits past its end",
    breaks: "A wait ends with the time limit.",
    file: pace,
    find: "Math.min(until, this.#lastWork",
    replace: "(this.#lastWork",
    noticedBy: waits,
  },
  {
    name: "the last poll of a run announces a wait",
    breaks: "A worker whose run has ended is idle, and a dispatch wakes one.",
    file: pace,
    find: "left >= SHORTEST_WAIT && ",
    replace: "left > 0 && ",
    noticedBy: waits,
  },
  {
    name: "the last poll of an isolate's budget announces a wait",
    breaks: "A worker whose isolate has no polls left is idle, and a dispatch wakes one.",
    file: pace,
    find: " && this.budget.pollsLeft > 1",
    replace: "",
    noticedBy: waits,
  },
  {
    name: "a long poll interval is ignored",
    breaks: "A poll interval above a second limits the number of polls.",
    file: pace,
    find: " && this.limits.pollInterval <= LONGEST_WAIT",
    replace: "",
    noticedBy: waits,
  },
  {
    name: "a pause follows a wait",
    breaks: "The poll after a wait follows at once.",
    file: pace,
    find: "hasWaited ? 0 : isFirst",
    replace: "isFirst",
    noticedBy: waits,
  },
  {
    name: "a long pause precedes a wait",
    breaks: "The poll after the announcement of a wait follows within 5 ms.",
    file: pace,
    find: "isFirst ? 1 : ",
    replace: "",
    noticedBy: waits,
  },
  {
    name: "an empty poll follows each message",
    breaks: "A claim that was not full is followed by a pause.",
    file: pace,
    find: "claimed < batch ? 1 : 0",
    replace: "0",
    noticedBy: waits,
  },
  {
    name: "the transport sends no wait",
    breaks: "A worker with nothing to do waits in the database.",
    file: "shared/transports/supabase.ts",
    find: "...(wait > 0 && { wait: interval(wait) }),",
    replace: "",
    noticedBy: ["supabase/delivery/waiting_worker.test.ts"],
  },
];
