// Makes timers of the platform fire early, for limits that the code passes to the platform and not to a Clock.

const WITHIN = 20_000; // ms

/**
 * Runs `work` while every timer of exactly `ms` milliseconds fires at once; all others are unchanged.
 * @throws if the work does not end, which means that the limit under test is not `ms`
 */
export async function withoutWaiting<T>(ms: number, work: () => Promise<T>): Promise<T> {
  const { setTimeout } = globalThis;
  const { timeout } = AbortSignal;
  const shortened = (delay = 0) => delay === ms ? 0 : delay;
  Object.assign(globalThis, { setTimeout: (act: () => void, delay?: number) => setTimeout(act, shortened(delay)) });
  Object.assign(AbortSignal, { timeout: (delay: number) => timeout.call(AbortSignal, shortened(delay)) });
  let giveUp: ReturnType<typeof setTimeout> | undefined;
  const unending = new Promise<never>((_, reject) => {
    giveUp = setTimeout(() => reject(new Error(`no timer of ${ms} ms ended the work`)), WITHIN);
  });
  try {
    return await Promise.race([work(), unending]);
  } finally {
    clearTimeout(giveUp);
    Object.assign(globalThis, { setTimeout });
    Object.assign(AbortSignal, { timeout });
  }
}
