// Planted bugs of lifecycle events: their content, their receivers, their number and their cost.
import { fn, type Mutant } from "./mutant.ts";

const emit = fn("messenger.emit");
const storeEvents = fn("messenger.store_events");
const events = ["supabase/delivery/events.test.ts"];
const realtime = ["supabase/delivery/event_realtime.test.ts"];
const webhooks = ["supabase/delivery/webhooks.test.ts"];

export const TELLING: readonly Mutant[] = [
  {
    name: "events have events",
    breaks: "A subscription to all types receives events of its own deliveries, without end.",
    statement: storeEvents,
    find: "where x.id = any (ids) and not starts_with(x.message_type, 'symphony.')",
    replace: "where x.id = any (ids)",
    noticedBy: events,
  },
  {
    name: "dead is not failed",
    breaks: "A subscriber to every failure receives no events of dead letters.",
    statement: emit,
    find: "'{dead,failed}'::text[]",
    replace: "'{dead}'::text[]",
    noticedBy: events,
  },
  {
    name: "a disabled subscription receives events",
    breaks: "A receiver that replied 410 is called indefinitely.",
    statement: storeEvents,
    find: "s.enabled and ",
    replace: "",
    noticedBy: webhooks,
  },
  {
    name: "every subscriber receives events of every type",
    breaks: "A subscription to one type receives events of all.",
    statement: storeEvents,
    find: "and coalesce(s.message_type = x.message_type, true)",
    replace: "",
    noticedBy: events,
  },
  {
    name: "a claim that takes over a lost lease sends no event",
    breaks: "An event of a lease's expiry is sent only if no worker claims.",
    statement: fn("messenger.find_due"),
    find: "where v_dispositions[1] = 'lost'",
    replace: "where false",
    noticedBy: events,
  },
  {
    name: "the ticker's rescue sends no event",
    breaks: "An event of a lost lease is sent only if a worker claims.",
    statement: fn("messenger.rescue_messages"),
    find: "perform messenger.emit('retried', v_lost, rescue_messages.at);",
    replace: "",
    noticedBy: events,
  },
  {
    name: "expiry and cancelling send no events",
    breaks: "A subscriber to every failure receives no events of these.",
    statement: fn("messenger.fail_without_dead_letter"),
    find: "perform messenger.emit('failed', ids, at);",
    replace: "",
    noticedBy: [...events, ...realtime],
  },
  {
    name: "an error in Realtime fails the outcome",
    breaks: "P2: an error in Realtime makes a message be handled repeatedly.",
    statement: fn("messenger.announce"),
    find: "raise log",
    replace: "raise exception",
    noticedBy: realtime,
  },
  {
    name: "events for senders are public",
    breaks: "Anyone with a user's id receives the events of that user's messages.",
    statement: fn("messenger.announce"),
    find: "'messenger:' || m.created_by, true)",
    replace: "'messenger:' || m.created_by, false)",
    noticedBy: realtime,
  },
  {
    name: "any secret can sign",
    breaks: "Any role that can subscribe a webhook can sign with any secret of Vault.",
    statement: fn("messenger.on_webhook"),
    find: "coalesce(not starts_with(secret_name, 'symphony_webhook_'), true)",
    replace: "false",
    noticedBy: webhooks,
  },
  {
    name: "the signature does not cover the time",
    breaks: "A recorded delivery can be replayed indefinitely.",
    statement: fn("messenger.sign_webhook"),
    find: "concat_ws('.', v_id, v_now, v_body)",
    replace: "concat_ws('.', v_id, v_body)",
    noticedBy: webhooks,
  },
];
