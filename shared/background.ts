// Work that goes on after the reply: the edge runtime must be told, or it ends the isolate.

declare const EdgeRuntime: { waitUntil(promise: Promise<unknown>): void } | undefined;

/** Keeps the isolate alive until the work is done; elsewhere than in the edge runtime the process does that itself. */
export function keepAlive(work: Promise<unknown>): void {
  const settled = work.catch(() => {});
  if (typeof EdgeRuntime !== "undefined") EdgeRuntime.waitUntil(settled);
}
