// Snoozes until `until`, which uses no retry, then succeeds.
import { z } from "zod";
import { Snooze } from "../../shared/errors.ts";
import { defineMessage } from "../../shared/message.ts";

export default defineMessage({
  type: "ExampleSnooze",
  payload: z.object({ until: z.iso.datetime({ offset: true }) }),
  handle({ until }, { envelope: { retryCount } }) {
    const startedAt = new Date().toISOString();
    const wait = Date.parse(until) - Date.now();
    if (wait > 0) throw new Snooze(wait);
    return { ok: true, startedAt, retryCount };
  },
});
