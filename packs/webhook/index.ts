// The webhook pack: delivers lifecycle events to URLs. Without it, events for webhooks wait in the queue webhooks.
import type { MessageType } from "../../shared/message.ts";
import webhook from "./webhook.ts";

export const webhooks: readonly MessageType[] = [webhook];
