// Lists in which some places hold an error: made, filtered, and put together again.
import { SymphonyError, toSymphonyError } from "../errors.ts";

export function accepted<T>(item: T | SymphonyError): item is T {
  return !(item instanceof SymphonyError);
}

/** Runs `step` for each item; atomic throws an error naming its place from 1, otherwise the error takes the item's place. */
export function attemptEach<T, R>(
  items: readonly T[],
  step: (item: T) => Promise<R>,
  atomic: boolean,
): Promise<(R | SymphonyError)[]> {
  return Promise.all(items.map(async (item, index) => {
    try {
      return await step(item);
    } catch (thrown) {
      const error = toSymphonyError(thrown);
      if (!atomic) return error;
      throw new SymphonyError(error.code, `message ${index + 1}: ${error.message}`, {
        hint: error.hint,
        cause: error.cause,
      });
    }
  }));
}

/** Sends what was accepted; each answer takes its item's place, each error keeps its own. */
export async function sendAccepted<T, R>(
  items: readonly (T | SymphonyError)[],
  send: (items: T[]) => Promise<(R | SymphonyError)[]>,
): Promise<(R | SymphonyError)[]> {
  const good = items.filter(accepted);
  const replies = good.length > 0 ? await send(good) : [];
  let next = 0;
  return items.map((item) => accepted(item) ? replies[next++] : item);
}
