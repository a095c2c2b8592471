// Fails at every delivery and becomes a dead letter after its retries.
import { z } from "zod";
import { defineMessage } from "../../shared/message.ts";

export default defineMessage({
  type: "ExampleHopeless",
  payload: z.object({}).loose(),
  retry: { maxRetries: 2, delay: 200 },
  handle() {
    throw new Error("This handler never succeeds.");
  },
});
