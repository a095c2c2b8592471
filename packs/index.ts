// The registry of packs: the message types of this deployment, and the middleware around each delivery.
import type { MessageType } from "../shared/message.ts";
import type { Middleware } from "../shared/middleware.ts";
import { example } from "./example/index.ts";
import { webhooks } from "./webhook/index.ts";

export const messageTypes: readonly MessageType[] = [...example, ...webhooks];

/** Around every handler, in workers and in the sync transport; the first is the outermost. */
export const middleware: readonly Middleware[] = [];
