// Handles the messages of one claim together, as one insert or one call of an outside API would; of its numbers 13 is rejected.
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
