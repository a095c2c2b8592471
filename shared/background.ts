// Background work: keeps the isolate running after the reply until the work is done.

declare const EdgeRuntime: { waitUntil(promise: Promise<unknown>): void } | undefined;

/** Keeps the isolate running until the work is done. Outside the edge runtime pending work keeps the process alive. */
export function keepAlive(work: Promise<unknown>): void {
  const settled = work.catch(() => {});
  if (typeof EdgeRuntime !== "undefined") EdgeRuntime.waitUntil(settled);
}
