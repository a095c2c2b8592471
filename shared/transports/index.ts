// The registry of transports: how each type sends. A type without a line here is not configured.
import type { Sender } from "../sender.ts";
import { type InlineOptions, syncSender } from "./sync.ts";

/** @param store stores the message as a row, in the name of whoever sends */
export type SenderFactory = (store: Sender, options: InlineOptions) => Sender;

export const transports: Readonly<Record<string, SenderFactory>> = {
  supabase: (store) => store,
  sync: syncSender,
};
