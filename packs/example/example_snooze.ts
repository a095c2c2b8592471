// Snoozes until `until`, which burns no retry, and then succeeds.
import { z } from "zod";
import { Snooze } from "../../shared/errors.ts";
import { defineMessage } from "../../shared/message.ts";

export default defineMessage({
  type: "ExampleSnooze",
  payload: z.object({ until: z.iso.datetime({ offset: true }) }),
  handle({ until }, { envelope: { retryCount } }) {
    const startedAt = new Date().toISOString();
    const left = Date.parse(until) - Date.now();
    if (left > 0) throw new Snooze(left);
    return { ok: true, startedAt, retryCount };
  },
});
