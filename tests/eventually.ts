// Waits for a condition instead of a fixed time.

const EVERY = 25; // ms

/**
 * Repeats `probe` until it returns anything but undefined, null or false; an error counts as not yet.
 * @param what completes the sentence "did not happen within 30 s: ..."
 * @param within milliseconds
 */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | null | false> | T | undefined | null | false,
  within = 30_000,
): Promise<T> {
  let last: unknown;
  for (const giveUp = Date.now() + within; Date.now() < giveUp;) {
    try {
      const reply = await probe();
      if (reply !== undefined && reply !== null && reply !== false) return reply;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
  throw new Error(`did not happen within ${within / 1_000} s: ${what}`, { cause: last });
}
