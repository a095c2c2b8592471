// Middleware around every delivery: it sees the outcome as data and may replace it.
import type { Clock } from "./clock.ts";
import type { HandlerContext } from "./message.ts";
import type { Outcome } from "./delivery.ts";

/** Null means the lease was lost, so there is nothing to record; `recorded`, that the database knows it already. */
export type DeliveryResult = Outcome & { recorded?: true } | null;

/**
 * Runs around each delivery, each one of a batch too. It may look at and replace the outcome that `next` answers, answer one itself without
 * calling `next`, and, before it calls `next`, replace what the context holds (`ctx.log = ctx.log.with(...)`). What it throws fails the delivery.
 */
export type Middleware = (ctx: HandlerContext, next: () => Promise<DeliveryResult>) => Promise<DeliveryResult>;

/** The first middleware is the outermost. */
export function chain(middleware: readonly Middleware[], ctx: HandlerContext, handle: () => Promise<DeliveryResult>) {
  return middleware.reduceRight<() => Promise<DeliveryResult>>(
    (next, around) => async () => await around(ctx, next),
    handle,
  );
}

/** Writes the handler's duration into its outcome. */
export function timing(clock: Clock): Middleware {
  return async (_ctx, next) => {
    const start = clock.now();
    const outcome = await next();
    return outcome && { ...outcome, duration_ms: Math.round(clock.now() - start) };
  };
}

/** Logs one line a delivery. */
export const logging: Middleware = async (ctx, next) => {
  const outcome = await next();
  if (outcome?.outcome === "failed") {
    const { error, error_class, retryable, duration_ms } = outcome;
    ctx.log.warn("handler failed", { error, error_class, retryable, duration_ms });
  } else if (outcome) ctx.log.info("handled", { outcome: outcome.outcome, duration_ms: outcome.duration_ms });
  return outcome;
};
