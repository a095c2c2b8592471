// The registry of transports: a sender for each type. A type that is not listed here is not configured.
import type { Sender } from "../sender.ts";
import { type InlineOptions, syncSender } from "./sync.ts";

/** @param store stores the message as a row, with the rights of the caller */
export type SenderFactory = (store: Sender, options: InlineOptions) => Sender;

export const transports: Readonly<Record<string, SenderFactory>> = {
  supabase: (store) => store,
  sync: syncSender,
};
