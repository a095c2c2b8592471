// Completion from inside a handler: a function of the database and the message's completion, in one transaction.
import type { Clock } from "../clock.ts";
import type { PostgrestFailure } from "../database_error.ts";
import type { Database } from "../db.ts";
import type { Completed } from "../delivery.ts";
import { FunctionFailed, StaleLease, SymphonyError, toSymphonyError } from "../errors.ts";
import { type Json, toJson } from "../json.ts";

const ATTEMPTS = 5;
const FIRST_PAUSE = 100; // ms
// SQLSTATEs of the connection, the server and lost races: what the function was asked to do is not their matter.
const NOT_THE_FUNCTION = /^(08|53|57P|58|40001|40P01)/;

/** One delivery's way to complete itself. Repeating a call whose reply was lost is safe: the database knows the fence. */
export class Completion {
  #running: Promise<Completed> | undefined;
  #reply: Completed | undefined;

  /** @param onStale told before the call throws StaleLease, so that a handler that swallows it has no outcome either */
  constructor(
    readonly lease: { id: string; fence: number },
    readonly db: Database,
    readonly clock: Clock,
    readonly signal: AbortSignal,
    readonly onStale: (reason: StaleLease) => void,
  ) {}

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** What the message was completed with; undefined while it is not. */
  get reply(): Completed | undefined {
    return this.#reply;
  }

  /** Waits for a call that the handler did not wait for, and fails as it does. */
  async idle(): Promise<void> {
    await this.#running;
  }

  with(functionName: string, args: unknown = {}): Promise<Completed> {
    const running = this.#call(functionName, toJson(args)).finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    running.catch(() => {}); // whoever waits hears it; a promise nobody waits for must not end the isolate
    return this.#running = running;
  }

  async #call(function_name: string, args: Json): Promise<Completed> {
    for (let attempt = 1;; attempt++) {
      try {
        const reply = await this.db.call("messenger_complete_with", { ...this.lease, function_name, args });
        return this.#reply = reply as Completed; // jsonb by signature, this shape by contract
      } catch (thrown) {
        const error = errorOf(thrown);
        if (error instanceof StaleLease) this.onStale(error);
        const mayRepeat = error instanceof SymphonyError && error.transient && !this.signal.aborted;
        if (!mayRepeat || attempt === ATTEMPTS) throw error;
        await this.clock.sleep(FIRST_PAUSE * 2 ** (attempt - 1) * (0.5 + Math.random() / 2), this.signal);
      }
    }
  }
}

function errorOf(thrown: unknown): Error {
  const error = toSymphonyError(thrown);
  if (error.code === "SM_STALE_LEASE") return new StaleLease();
  const failure = error.cause as PostgrestFailure | undefined; // what a database's SymphonyError holds; any other has no code of five
  const sqlstate = failure?.code ?? "";
  if (failure && /^[0-9A-Z]{5}$/.test(sqlstate) && !NOT_THE_FUNCTION.test(sqlstate)) {
    return new FunctionFailed(sqlstate, failure.message, { cause: failure });
  }
  return error;
}
