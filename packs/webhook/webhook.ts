// Delivers one event to one subscribed URL. The database signs it (messenger_sign_webhook), as Standard Webhooks
// describes; the webhook-id is the same at every delivery.
import { z } from "zod";
import { readEnv } from "../../shared/env.ts";
import { defineMessage } from "../../shared/message.ts";
import { Gone, post } from "./post.ts";
import { assertPublic } from "./public_address.ts";

export default defineMessage({
  type: "symphony.webhook",
  payload: z.looseObject({ subscription: z.uuid() }),
  route: { queue: "webhooks" },
  retry: { maxRetries: 8, delay: 5_000, multiplier: 3, maxDelay: 3_600_000, jitter: 0.2 },
  async handle(event, { db, envelope: { id }, signal, traceparent }) {
    const { subscription } = event;
    const body = JSON.stringify(event);
    const [signed] = await db.call("messenger_sign_webhook", { subscription, id, body });
    if (!signed) return { skipped: "unsubscribed" };
    const url = new URL(signed.url);
    if (!readEnv().webhook.allowPrivate) await assertPublic(url);
    const headers = {
      "content-type": "application/json",
      "user-agent": "symphony-messenger",
      "webhook-id": id,
      "webhook-timestamp": String(signed.signed_at),
      "webhook-signature": signed.signature,
      traceparent,
    };
    try {
      return { status: await post(url, { body, headers, signal }) };
    } catch (error) {
      if (error instanceof Gone) await db.call("messenger_disable_webhook", { subscription, reason: error.message });
      throw error;
    }
  },
});
