// Fails the first `failures` deliveries, then succeeds: shows the retry policy.
import { z } from "zod";
import { defineMessage } from "../../shared/message.ts";

export default defineMessage({
  type: "ExampleFlaky",
  payload: z.object({ failures: z.int().min(0).max(100) }),
  retry: { delay: 300, multiplier: 1.5, jitter: 0.2 },
  handle({ failures }, { envelope: { retryCount } }) {
    const startedAt = new Date().toISOString();
    if (retryCount < failures) throw new Error(`Failed on purpose, ${retryCount + 1} of ${failures}.`);
    return { ok: true, startedAt, retryCount };
  },
});
