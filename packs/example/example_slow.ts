// Takes `ms` milliseconds, reports its progress, and stops when its signal aborts.
import { z } from "zod";
import { defineMessage } from "../../shared/message.ts";

const STEPS = 10;

export default defineMessage({
  type: "ExampleSlow",
  payload: z.object({ ms: z.int().min(0).max(60_000) }),
  timeout: 90_000,
  async handle({ ms }, ctx) {
    const startedAt = new Date().toISOString();
    for (let step = 0; step < STEPS; step++) {
      ctx.progress({ percent: 100 * step / STEPS });
      await pause(ms / STEPS, ctx.signal);
    }
    return { ok: true, startedAt };
  },
});

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
  });
}
