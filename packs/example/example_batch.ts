// Handles the messages of one claim together, as a single insert or API call would; the number 13 fails.
import { z } from "zod";
import { Unrecoverable } from "../../shared/errors.ts";
import { defineMessage } from "../../shared/message.ts";

export default defineMessage({
  type: "ExampleBatch",
  payload: z.object({ n: z.int() }),
  handleBatch(items) {
    const startedAt = new Date().toISOString();
    for (const item of items) {
      if (item.payload.n === 13) item.fail(new Unrecoverable("13 is not handled here"));
      else item.complete({ ok: true, startedAt, together: items.length });
    }
  },
});
