// The edge runtime's global, for tests of work that keeps an isolate alive.

/** Runs `work` inside an edge runtime, and returns the promises that keep the isolate alive afterwards. */
export async function keptAlive(work: () => unknown): Promise<Promise<unknown>[]> {
  const promises: Promise<unknown>[] = [];
  Object.assign(globalThis, { EdgeRuntime: { waitUntil: (promise: Promise<unknown>) => void promises.push(promise) } });
  try {
    await work();
  } finally {
    Reflect.deleteProperty(globalThis, "EdgeRuntime");
  }
  return promises;
}
