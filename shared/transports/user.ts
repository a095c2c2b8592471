// Sends messages as a user: messenger_user_dispatch stores them with the rights of the user's JWT.
import type { Database } from "../db.ts";
import type { Sender, Sent } from "../sender.ts";

export function userSender(db: Database): Sender {
  return {
    send: (messages) =>
      Promise.all(messages.map(async ({ type, payload, idempotency_key, delay, headers, metadata }): Promise<Sent> => {
        const [row] = await db.call("messenger_user_dispatch", {
          type,
          payload,
          idempotency_key,
          delay,
          headers,
          metadata,
        });
        return row;
      })),
  };
}
