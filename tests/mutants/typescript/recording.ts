// Planted bugs of outcomes on their way to the database.
import type { TypeScriptMutant } from "../mutant.ts";

const consume = "shared/worker/consume.ts";
const loop = ["shared/worker/consume.test.ts"];
const outbox = "shared/worker/outbox.ts";
const sending = ["shared/worker/outbox.test.ts"];

export const RECORDING: readonly TypeScriptMutant[] = [
  {
    name: "outcomes of a failed call are lost",
    breaks: "No outcome is lost while the database is away.",
    file: outbox,
    find: "this.#outcomes.unshift(...sent);",
    replace: "",
    noticedBy: loop,
  },
  {
    name: "a single outcome is lost with its call",
    breaks: "An outcome that is sent alone while the database is away is sent again.",
    file: outbox,
    find: "if (error.transient) this.#outcomes.push(outcome);",
    replace: "if (error.transient) return;",
    noticedBy: sending,
  },
  {
    name: "a rejected outcome takes the others with it",
    breaks: "One outcome that the database rejects holds up no other.",
    file: outbox,
    find: "for (const outcome of sent) await this.#settleAlone(outcome);",
    replace: "",
    noticedBy: loop,
  },
  {
    name: "pauses of the outbox grow to 20 seconds",
    breaks: "The end of an isolate leaves only seconds for the last outcomes: pauses are two seconds at most.",
    file: outbox,
    find: "LONGEST_PAUSE = 2_000",
    replace: "LONGEST_PAUSE = 20_000",
    noticedBy: sending,
  },
  {
    name: "pauses of the outbox do not grow",
    breaks: "A database that is away is called less and less often.",
    file: outbox,
    find: "2 ** this.#failures++",
    replace: "1",
    noticedBy: sending,
  },
  {
    name: "pauses of the outbox stay long",
    breaks: "After a success pauses begin at 100 ms again.",
    file: outbox,
    find: "      this.#failures = 0;\n",
    replace: "",
    noticedBy: sending,
  },
  {
    name: "an outcome whose row is locked is forgotten",
    breaks: "P2: the outcome of a message that somebody has locked is lost, and its handler runs again.",
    file: outbox,
    find: "if (outcome && isUnwritten(disposition)) {",
    replace: "if (false && outcome && isUnwritten(disposition)) {",
    noticedBy: sending,
  },
  {
    name: "a locked row holds up the loop",
    breaks: "One locked row keeps every other message of its worker waiting.",
    file: outbox,
    find: "this.#outcomes.length === 0 && this.nextDue > this.clock.now()",
    replace: "this.#outcomes.length === 0 && this.nextDue === Infinity",
    noticedBy: sending,
  },
  {
    name: "a run ends before its outcomes are recorded",
    breaks: "P2: an outcome that is to be sent again is lost with the end of the run.",
    file: consume,
    find: "this.#outbox.nextDue < Infinity && !this.#stopping",
    replace: "false",
    noticedBy: sending,
  },
  {
    name: "an outcome is sent again indefinitely",
    breaks: "A run never ends when the project forbids the row of one message.",
    file: outbox,
    find: "now - deferred.since >= DROP_AFTER",
    replace: "false",
    noticedBy: sending,
  },
];
