// The pack of webhooks: delivers lifecycle events to URLs. Without it their messages stay in the queue `webhooks`.
import type { MessageType } from "../../shared/message.ts";
import webhook from "./webhook.ts";

export const webhooks: readonly MessageType[] = [webhook];
