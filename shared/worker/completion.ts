// completeWith: runs a database function and completes the message in one transaction.
import type { Clock } from "../clock.ts";
import type { PostgrestFailure } from "../database_error.ts";
import type { Database } from "../db.ts";
import type { Completed } from "../delivery.ts";
import { FunctionFailed, StaleLease, SymphonyError, toSymphonyError } from "../errors.ts";
import { type Json, toJson } from "../json.ts";

const ATTEMPTS = 5;
const FIRST_PAUSE = 100; // ms
// SQLSTATEs of the connection, the server and lost races: not the function's own errors.
const NOT_THE_FUNCTION = /^(08|53|57P|58|40001|40P01)/;

/**
 * The completion of one delivery. Repeating a call whose reply was lost is safe: the fencing token makes it `already`.
 */
export class Completion {
  #running: Promise<Completed> | undefined;
  #completed: Completed | undefined;

  /**
   * @param onStale called before a call throws StaleLease: a handler that catches it must not report an outcome either
   */
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

  /** The result of the message's completion; undefined before it. */
  get completed(): Completed | undefined {
    return this.#completed;
  }

  /** Waits for a call that the handler did not await, and fails if it fails. */
  async idle(): Promise<void> {
    await this.#running;
  }

  with(functionName: string, args: unknown = {}): Promise<Completed> {
    const running = this.#call(functionName, toJson(args)).finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    running.catch(() => {}); // without a caller that awaits it, the rejection would end the isolate
    return this.#running = running;
  }

  async #call(function_name: string, args: Json): Promise<Completed> {
    for (let attempt = 1;; attempt++) {
      try {
        const reply = await this.db.call("messenger_complete_with", { ...this.lease, function_name, args });
        return this.#completed = reply as Completed; // jsonb by signature, this shape by contract
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
  // The cause of a database's SymphonyError. The cause of any other has no five-character code.
  const failure = error.cause as PostgrestFailure | undefined;
  const sqlstate = failure?.code ?? "";
  if (failure && /^[0-9A-Z]{5}$/.test(sqlstate) && !NOT_THE_FUNCTION.test(sqlstate)) {
    return new FunctionFailed(sqlstate, failure.message, { cause: failure });
  }
  return error;
}
