// Middleware around every delivery: it reads the outcome as data and may replace it.
import type { Clock } from "./clock.ts";
import type { Failure, Outcome } from "./delivery.ts";
import type { HandlerContext } from "./handler_context.ts";

// Types that the signatures below name.
export type { Clock, Failure, HandlerContext, Outcome };

/**
 * The outcome of a delivery. Null: the lease was lost, so nothing is recorded. `recorded`: the database has recorded
 * the outcome already, by `completeWith`.
 */
export type DeliveryResult = Outcome & { recorded?: true } | null;

/**
 * Runs around each delivery, including each message of a batch. It may replace the outcome that `next` returns, or
 * return one without calling `next`. Before it calls `next` it may replace members of the context, such as its
 * log. An error that it throws fails the delivery.
 *
 * @example Add the tenant to every log line of a delivery
 * ```ts
 * import type { Middleware } from "./shared/middleware.ts";
 *
 * export const tenant: Middleware = async (ctx, next) => {
 *   ctx.log = ctx.log.with({ tenant: ctx.envelope.metadata.tenant });
 *   return await next();
 * };
 * ```
 */
export type Middleware = (ctx: HandlerContext, next: () => Promise<DeliveryResult>) => Promise<DeliveryResult>;

/**
 * Composes middleware; the first is the outermost.
 *
 * @param middleware runs around `handle`, in this order
 * @param ctx the context that each of them gets
 * @param handle runs the handler
 * @returns a function that runs all of them once
 *
 * @example
 * ```ts
 * import { chain, logging } from "./shared/middleware.ts";
 * import type { HandlerContext } from "./shared/message.ts";
 *
 * export function run(ctx: HandlerContext) {
 *   return chain([logging], ctx, () => Promise.resolve(null))();
 * }
 * ```
 */
export function chain(
  middleware: readonly Middleware[],
  ctx: HandlerContext,
  handle: () => Promise<DeliveryResult>,
): () => Promise<DeliveryResult> {
  return middleware.reduceRight<() => Promise<DeliveryResult>>(
    (next, around) => async () => await around(ctx, next),
    handle,
  );
}

/**
 * Makes a middleware that writes the handler's duration, in milliseconds, into the outcome.
 *
 * @param clock measures the duration
 * @returns the middleware
 *
 * @example
 * ```ts
 * import { systemClock } from "./shared/clock.ts";
 * import { type Middleware, timing } from "./shared/middleware.ts";
 *
 * export const middleware: readonly Middleware[] = [timing(systemClock)];
 * ```
 */
export function timing(clock: Clock): Middleware {
  return async (_ctx, next) => {
    const start = clock.now();
    const outcome = await next();
    return outcome && { ...outcome, duration_ms: Math.round(clock.now() - start) };
  };
}

/**
 * Logs one line per delivery.
 *
 * @param ctx its `log` gets the line
 * @param next runs the rest of the chain
 * @returns the outcome, unchanged
 *
 * @example
 * ```ts
 * import { logging, type Middleware } from "./shared/middleware.ts";
 *
 * export const middleware: readonly Middleware[] = [logging];
 * ```
 */
export async function logging(ctx: HandlerContext, next: () => Promise<DeliveryResult>): Promise<DeliveryResult> {
  const outcome = await next();
  if (outcome?.outcome === "failed") {
    const { error, error_class, retryable, duration_ms } = outcome;
    ctx.log.warn("handler failed", { error, error_class, retryable, duration_ms });
  } else if (outcome) ctx.log.info("handled", { outcome: outcome.outcome, duration_ms: outcome.duration_ms });
  return outcome;
}
