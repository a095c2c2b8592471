// Steps of a batch in which an element may fail without failing the others: the results hold its error.
import { SymphonyError, toSymphonyError } from "../errors.ts";

export function accepted<T>(item: T | SymphonyError): item is T {
  return !(item instanceof SymphonyError);
}

/**
 * Runs `step` for each item.
 * @param atomic true: the first error is thrown, with the item's number from 1; false: the result of the item is the
 * error
 */
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

/** Sends the items that are not errors. Returns one result per item, in the same order. */
export async function sendAccepted<T, R>(
  items: readonly (T | SymphonyError)[],
  send: (items: T[]) => Promise<(R | SymphonyError)[]>,
): Promise<(R | SymphonyError)[]> {
  const sendable = items.filter(accepted);
  const results = sendable.length > 0 ? await send(sendable) : [];
  let next = 0;
  return items.map((item) => accepted(item) ? results[next++] : item);
}
