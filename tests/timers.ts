// Timers of the platform that end early, for limits of the product that are handed to the platform and not to a Clock.

const WITHIN = 10_000; // ms

/**
 * Runs `work` while every timer of exactly `ms` milliseconds ends at once; all others are as long as they say.
 * @throws when the work does not end, which means that the limit under test is not `ms`
 */
export async function withoutWaiting<T>(ms: number, work: () => Promise<T>): Promise<T> {
  const { setTimeout } = globalThis;
  const { timeout } = AbortSignal;
  const shortened = (delay?: number) => delay === ms ? 0 : delay;
  globalThis.setTimeout =
    ((act: () => void, delay?: number, ...more: []) => setTimeout(act, shortened(delay), ...more)) as typeof setTimeout; // Node's types want a promisified variant too
  AbortSignal.timeout = (delay) => timeout.call(AbortSignal, shortened(delay) ?? delay);
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
