// The errors that a handler throws to choose its outcome, or meets while it runs.

/**
 * A handler throws it if a retry cannot help: the message becomes a dead letter at once.
 *
 * @example
 * ```ts
 * import { Unrecoverable } from "./shared/errors.ts";
 *
 * export function handle({ to }: { to: string }) {
 *   if (to === "") throw new Unrecoverable("The address is empty.");
 * }
 * ```
 */
export class Unrecoverable extends Error {
  /** The error class that is stored with the message. */
  override readonly name: string = "Unrecoverable";
}

/**
 * A handler throws it to have the message retried after a delay of its own. The retry is counted.
 *
 * @example
 * ```ts
 * import { RetryAfter } from "./shared/errors.ts";
 *
 * export function check(response: Response) {
 *   if (response.status === 429) throw new RetryAfter(60_000);
 * }
 * ```
 */
export class RetryAfter extends Error {
  /** The error class that is stored with the message. */
  override readonly name = "RetryAfter";
  /** Milliseconds from now before the retry. */
  readonly ms: number;

  /**
   * Requests a retry.
   *
   * @param ms milliseconds from now before the retry, at most 10 years
   * @param message the error that is stored with the attempt
   * @param options the error's `cause`
   */
  constructor(ms: number, message = `Retry after ${ms} ms.`, options?: ErrorOptions) {
    super(message, options);
    this.ms = ms;
  }
}

/**
 * A handler throws it to have the message delivered again later. No retry is used.
 *
 * @example
 * ```ts
 * import { Snooze } from "./shared/errors.ts";
 *
 * export function handle({ opensAt }: { opensAt: string }) {
 *   const wait = Date.parse(opensAt) - Date.now();
 *   if (wait > 0) throw new Snooze(wait);
 * }
 * ```
 */
export class Snooze extends Error {
  /** Always `Snooze`. */
  override readonly name = "Snooze";
  /** Milliseconds from now before the next delivery. */
  readonly ms: number;

  /**
   * Requests a later delivery.
   *
   * @param ms milliseconds from now before the next delivery, at most 10 years
   */
  constructor(ms: number) {
    super(`Snoozed for ${ms} ms.`);
    this.ms = ms;
  }
}

/**
 * The database function called by `completeWith` raised an error: its transaction is rolled back, and the lease is
 * still held. A handler that does not catch it fails with the function's SQLSTATE as the error class.
 *
 * @example Try another function
 * ```ts
 * import { FunctionFailed } from "./shared/errors.ts";
 * import type { HandlerContext } from "./shared/message.ts";
 *
 * export async function handle(payload: { order: string }, ctx: HandlerContext) {
 *   try {
 *     await ctx.completeWith("shop.ship", payload);
 *   } catch (error) {
 *     if (!(error instanceof FunctionFailed) || error.code !== "P0001") throw error;
 *     await ctx.completeWith("shop.back_order", payload);
 *   }
 * }
 * ```
 */
export class FunctionFailed extends Error {
  /** Always `FunctionFailed`. */
  override readonly name = "FunctionFailed";
  /** The SQLSTATE. */
  readonly code: string;

  /**
   * Describes the error of a database function.
   *
   * @param code the SQLSTATE; PT422 fails the message without retries
   * @param message the function's own message
   * @param options the error's `cause`
   */
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * The reason of a handler's aborted signal if another worker owns the message now. The outcome of this delivery is not
 * recorded.
 *
 * @example Release an outside lock only as the owner of the message
 * ```ts
 * import { StaleLease } from "./shared/errors.ts";
 * import type { HandlerContext } from "./shared/message.ts";
 *
 * export function isOwner({ signal }: HandlerContext): boolean {
 *   return !(signal.reason instanceof StaleLease);
 * }
 * ```
 */
export class StaleLease extends Error {
  /** Always `StaleLease`. */
  override readonly name = "StaleLease";

  /** An error with a fixed message. */
  constructor() {
    super("The lease was lost: another worker owns the message now.");
  }
}

/**
 * The reason of a handler's aborted signal if the message is to be cancelled. The handler may still complete.
 *
 * @example Stop between two steps
 * ```ts
 * import { CancelRequested } from "./shared/errors.ts";
 * import type { HandlerContext } from "./shared/message.ts";
 *
 * export function isCancelled({ signal }: HandlerContext): boolean {
 *   return signal.reason instanceof CancelRequested;
 * }
 * ```
 */
export class CancelRequested extends Error {
  /** Always `CancelRequested`. */
  override readonly name = "CancelRequested";

  /** An error with a fixed message. */
  constructor() {
    super("Cancellation of the message was requested.");
  }
}
