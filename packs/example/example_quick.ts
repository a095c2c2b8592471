// Completes at once.
import { z } from "zod";
import { defineMessage } from "../../shared/message.ts";

export default defineMessage({
  type: "ExampleQuick",
  payload: z.object({}).loose(),
  handle: () => ({ ok: true, startedAt: new Date().toISOString() }),
});
