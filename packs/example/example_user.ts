// May be dispatched by signed-in users, with their own access token.
import { z } from "zod";
import { defineMessage } from "../../shared/message.ts";

export default defineMessage({
  type: "ExampleUser",
  payload: z.object({ note: z.string().max(1_000) }),
  dispatchableBy: "user",
  handle: ({ note }) => ({ ok: true, startedAt: new Date().toISOString(), length: note.length }),
});
