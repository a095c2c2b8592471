// Planted bugs of the way of outcomes to the database.
import type { TypeScriptMutant } from "../mutant.ts";

const consume = "shared/worker/consume.ts";
const loop = ["shared/worker/consume.test.ts"];
const outbox = "shared/worker/outbox.ts";
const sending = ["shared/worker/outbox.test.ts"];

export const RECORDING: readonly TypeScriptMutant[] = [
  {
    name: "outcomes of a failed call are lost",
    breaks: "No outcome is lost while the database is unavailable.",
    file: outbox,
    find: "this.#outcomes.unshift(...sent);",
    replace: "",
    noticedBy: loop,
  },
  {
    name: "a single outcome is lost with its call",
    breaks: "An outcome that is sent alone while the database is unavailable is sent again.",
    file: outbox,
    find: "if (error.transient) this.#outcomes.push(outcome);",
    replace: "if (error.transient) return;",
    noticedBy: sending,
  },
  {
    name: "a rejected outcome loses the others",
    breaks: "An outcome that the database rejects delays no other.",
    file: outbox,
    find: "for (const outcome of sent) await this.#settleAlone(outcome);",
    replace: "",
    noticedBy: loop,
  },
  {
    name: "pauses of the outbox grow to 20 seconds",
    breaks: "An isolate's end leaves only seconds for the last outcomes: pauses are at most two seconds long.",
    file: outbox,
    find: "LONGEST_PAUSE = 2_000",
    replace: "LONGEST_PAUSE = 20_000",
    noticedBy: sending,
  },
  {
    name: "pauses of the outbox do not grow",
    breaks: "An unavailable database is called less and less often.",
    file: outbox,
    find: "2 ** this.#failures++",
    replace: "1",
    noticedBy: sending,
  },
  {
    name: "pauses of the outbox stay long",
    breaks: "After a success pauses start at 100 ms again.",
    file: outbox,
    find: "      this.#failures = 0;\n",
    replace: "",
    noticedBy: sending,
  },
  {
    name: "an outcome whose row is locked is lost",
    breaks: "P2: the outcome of a message whose row is locked is lost, and its handler runs again.",
    file: outbox,
    find: "if (outcome && isUnwritten(disposition)) {",
    replace: "if (false && outcome && isUnwritten(disposition)) {",
    noticedBy: sending,
  },
  {
    name: "a locked row blocks the loop",
    breaks: "A locked row delays every other message of its worker.",
    file: outbox,
    find: "this.#outcomes.length > 0 || this.nextDue <= this.clock.now()",
    replace: "this.#outcomes.length > 0 || this.nextDue < Infinity",
    noticedBy: sending,
  },
  {
    name: "a run ends before its outcomes are recorded",
    breaks: "P2: an outcome that must be repeated is lost with the end of the run.",
    file: consume,
    find: "this.#outbox.nextDue < Infinity && !this.#stopping",
    replace: "false",
    noticedBy: sending,
  },
  {
    name: "an outcome is sent again indefinitely",
    breaks: "A run never ends if the project rejects updates of one message.",
    file: outbox,
    find: "now - deferred.since >= this.lease",
    replace: "false",
    noticedBy: sending,
  },
  {
    name: "an outcome is dropped after a minute",
    breaks: "P2: an outcome is dropped while its lease is still held, and the handler runs again.",
    file: outbox,
    find: "now - deferred.since >= this.lease",
    replace: "now - deferred.since >= 60_000",
    noticedBy: sending,
  },
];
