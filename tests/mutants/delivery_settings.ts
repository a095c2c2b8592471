// Planted bugs of the row that is derived from transports, queues and subscriptions for claims and settles.
import { fn, type Mutant } from "./mutant.ts";

const derive = fn("messenger.derive_delivery_settings");
const settings = ["supabase/delivery/delivery_settings.test.ts"];
const pauses = ["supabase/operations/pause.test.ts"];
const events = ["supabase/delivery/events.test.ts"];

export const DELIVERY_SETTINGS: readonly Mutant[] = [
  {
    name: "a pause is not derived",
    breaks: "A pause takes effect with its commit.",
    statement: "create or replace trigger queues_delivery_settings",
    find: "after insert or update or delete or truncate",
    replace: "after delete or truncate",
    noticedBy: pauses,
  },
  {
    name: "a resume is not derived",
    breaks: "A queue that was resumed is handed out again.",
    statement: "create or replace trigger queues_delivery_settings",
    find: "after insert or update or delete or truncate",
    replace: "after insert or delete or truncate",
    noticedBy: pauses,
  },
  {
    name: "a change of a transport is not derived",
    breaks: "A retention and a disabled transport take effect with their commit.",
    statement: "create or replace trigger messenger_transports_delivery_settings",
    find: "after insert or update or delete or truncate",
    replace: "after insert or delete or truncate",
    noticedBy: pauses,
  },
  {
    name: "a new transport is not derived",
    breaks: "The retention of a new transport applies.",
    statement: "create or replace trigger messenger_transports_delivery_settings",
    find: "after insert or update or delete or truncate",
    replace: "after update or delete or truncate",
    noticedBy: ["supabase/delivery/settle.test.ts"],
  },
  {
    name: "a subscription is not derived",
    breaks: "A new subscription receives the next event.",
    statement: "create or replace trigger subscriptions_delivery_settings",
    find: "after insert or update or delete or truncate",
    replace: "after delete or truncate",
    noticedBy: events,
  },
  {
    name: "the derived row ignores paused queues",
    breaks: "A session that caches its queues continues to hand out messages of a paused queue.",
    statement: derive,
    find: "where q.paused_at is not null",
    replace: "where false",
    noticedBy: pauses,
  },
  {
    name: "the derived row ignores disabled transports",
    breaks: "A session that caches its queues continues to hand out messages of a disabled transport.",
    statement: derive,
    find: "not (t.enabled and t.type in ('supabase', 'sync'))",
    replace: "not (t.type in ('supabase', 'sync'))",
    noticedBy: pauses,
  },
  {
    name: "the derived row compares the retention as text",
    breaks: "Retention 0 is zero in every form that Postgres accepts.",
    statement: derive,
    find: "(t.config ->> 'retention')::interval = '0'",
    replace: "t.config ->> 'retention' = '0'",
    noticedBy: settings,
  },
  {
    name: "the derived row counts subscriptions of another event",
    breaks: "A subscriber to completed messages receives their events.",
    statement: derive,
    find: "where s.event = 'completed'",
    replace: "where s.event = 'failed'",
    noticedBy: events,
  },
  {
    name: "two changes derive the row at the same time",
    breaks: "The later of two changes that commit together does not undo the effect of the other.",
    statement: derive,
    find: "values (true, '{}', '{}', false)",
    replace: "select true, '{}', '{}', false where not exists (select from messenger.delivery_settings)",
    noticedBy: settings,
  },
  {
    name: "a settle without the derived row keeps messages",
    breaks: "Without the derived row, which a restore may leave out, retention 0 deletes all the same.",
    statement: fn("messenger.complete"),
    find: "  if not found then",
    replace: "  if false then",
    noticedBy: settings,
  },
];
