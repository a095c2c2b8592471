// A drain for buses whose claim is one call of a driver.
import { pause } from "../../pause.ts";
import type { Drained, Plan } from "./peer.ts";

export interface Consumer {
  /** Settles the messages of its last claim and claims up to `wanted` more; returns their number. */
  claim(wanted: number): Promise<number>;
  /** Settles the messages of its last claim. */
  finish(): Promise<unknown>;
}

/** Consumers claim in parallel until the messages of the plan are handled. */
export async function drainBy(
  { messages, consumers, batch, within, onHandled }: Plan,
  open: (worker: string) => Consumer,
): Promise<Drained> {
  let requested = 0;
  let handled = 0;
  const begin = performance.now();
  const consume = async ({ claim, finish }: Consumer) => {
    while (performance.now() - begin < within && handled < messages) {
      const wanted = Math.min(batch, messages - requested);
      if (wanted <= 0) break;
      requested += wanted;
      const claimed = await claim(wanted);
      requested -= wanted - claimed;
      handled += claimed;
      if (claimed > 0) onHandled?.(claimed);
      else await pause(1);
    }
    await finish();
  };
  await Promise.all(Array.from({ length: consumers }, (_, n) => consume(open(`bench-${n}`))));
  return { handled, ms: performance.now() - begin };
}

/** Milliseconds of each poll; the first one, which opens the connection and prepares the statement, is left out. */
export async function timePolls(polls: number, poll: () => Promise<number>): Promise<number[]> {
  const samples: number[] = [];
  for (let n = 0; n <= polls; n++) {
    const begin = performance.now();
    const found = await poll();
    samples.push(performance.now() - begin);
    if (found > 0) throw new Error("an empty poll found a due message");
  }
  return samples.slice(1);
}

/** Stores messages in parallel calls of at most `perCall` each, one call per connection at a time. */
export async function stockBy(
  messages: number,
  { perCall, connections }: { perCall: number; connections: number },
  store: (messages: number) => Promise<unknown>,
): Promise<void> {
  let left = messages;
  const work = async () => {
    while (left > 0) {
      const count = Math.min(perCall, left);
      left -= count;
      await store(count);
    }
  };
  await Promise.all(Array.from({ length: connections }, work));
}
