// Planted bugs of lifecycle events: what is told, to whom, how often, and what it may cost.
import { fn, type Mutant } from "./mutant.ts";

const emit = fn("messenger.emit");
const storeEvents = fn("messenger.store_events");
const settle = fn("messenger.settle_outcomes");
const events = ["supabase/events.test.ts"];
const races = ["supabase/event_races.test.ts"];
const realtime = ["supabase/event_realtime.test.ts"];
const webhooks = ["supabase/webhooks.test.ts"];

export const TELLING: readonly Mutant[] = [
  {
    name: "events have events",
    breaks: "A subscription to all types hears of its own deliveries, without end.",
    statement: storeEvents,
    find: "where x.id = any (ids) and not starts_with(x.message_type, 'symphony.')",
    replace: "where x.id = any (ids)",
    noticedBy: events,
  },
  {
    name: "dead is not failed",
    breaks: "Who subscribed to every bad end does not hear of dead letters.",
    statement: emit,
    find: "'{dead,failed}'::text[]",
    replace: "'{dead}'::text[]",
    noticedBy: events,
  },
  {
    name: "a disabled subscription is served",
    breaks: "A receiver that answered 410 is called indefinitely.",
    statement: storeEvents,
    find: "s.enabled and ",
    replace: "",
    noticedBy: webhooks,
  },
  {
    name: "every type is told to every subscriber",
    breaks: "A subscription to one type hears of all.",
    statement: storeEvents,
    find: "and coalesce(s.message_type = x.message_type, true)",
    replace: "",
    noticedBy: events,
  },
  {
    name: "settle tells what it was asked, not what it did",
    breaks: "A repeated, late or second outcome is told once more.",
    statement: settle,
    find:
      "select v_ids[c.ord] from unnest(v_counted.ords, v_counted.dispositions) as c(ord, disposition)\n        where c.disposition in ('kept', 'unkept')",
    replace: "select v.id from unnest(v_ids, v_kinds) as v(id, kind) where v.kind = 'completed'",
    noticedBy: [...races, ...events],
  },
  {
    name: "completed messages are told after they are gone",
    breaks: "With retention 0 the event is lost.",
    statement: settle,
    find: "where c.disposition in ('kept', 'unkept'))",
    replace: "where c.disposition in ('kept'))",
    noticedBy: events,
  },
  {
    name: "a claim that takes a lost lease over is silent",
    breaks: "A delivery that ended by lease expiry is told only where no worker asks.",
    statement: fn("messenger.find_due"),
    find: "where v_dispositions[1] = 'lost'",
    replace: "where false",
    noticedBy: events,
  },
  {
    name: "the clock's rescue is silent",
    breaks: "A lost lease is told only where a worker asks.",
    statement: fn("messenger.rescue_messages"),
    find: "perform messenger.emit('retried', v_lost, rescue_messages.at);",
    replace: "",
    noticedBy: events,
  },
  {
    name: "expiry and cancelling are silent",
    breaks: "Who subscribed to every bad end does not hear of these.",
    statement: fn("messenger.fail_without_dead_letter"),
    find: "perform messenger.emit('failed', ids, at);",
    replace: "",
    noticedBy: [...events, ...realtime],
  },
  {
    name: "Realtime may cost the outcome",
    breaks: "P2: an error in Realtime makes a message be handled again, and again.",
    statement: fn("messenger.announce"),
    find: "raise log",
    replace: "raise exception",
    noticedBy: realtime,
  },
  {
    name: "senders are told in public",
    breaks: "Whoever knows a user's id hears of that user's messages.",
    statement: fn("messenger.announce"),
    find: "'messenger:' || m.created_by, true)",
    replace: "'messenger:' || m.created_by, false)",
    noticedBy: realtime,
  },
  {
    name: "any secret signs",
    breaks: "Whoever can subscribe a webhook makes any secret of Vault sign.",
    statement: fn("messenger.on_webhook"),
    find: "coalesce(not starts_with(secret_name, 'symphony_webhook_'), true)",
    replace: "false",
    noticedBy: webhooks,
  },
  {
    name: "the signature leaves the time out",
    breaks: "A delivery that was recorded can be replayed indefinitely.",
    statement: fn("messenger.sign_webhook"),
    find: "concat_ws('.', v_id, v_now, v_body)",
    replace: "concat_ws('.', v_id, v_body)",
    noticedBy: webhooks,
  },
];
