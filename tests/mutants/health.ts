// Planted bugs of the windows an operator looks through: status, health, explain.
import { fn, type Mutant } from "./mutant.ts";

const healths = ["supabase/health.test.ts"];
const counts = ["supabase/counting.test.ts"];
const messages = ["supabase/explain_message.test.ts"];
const queues = ["supabase/explain_queue.test.ts"];
const workers = ["supabase/explain_worker.test.ts"];

export const WATCHING: Mutant[] = [
  {
    name: "health believes a clock that stopped",
    breaks: "P12: health turns red within two minutes.",
    statement: fn("messenger.is_ticker_stopped"),
    find: "interval '70 seconds'",
    replace: "interval '1 hour'",
    noticedBy: healths,
  },
  {
    name: "a clock that was stopped counts as running for 70 seconds",
    breaks: "P12: whoever stopped it is told that all is well.",
    statement: fn("messenger.is_ticker_stopped"),
    find: "not s.clock_enabled and",
    replace: "false and",
    noticedBy: healths,
  },
  {
    name: "a queue that was just resumed is overdue at once",
    breaks: "P12: whoever is on call is woken for a pause that is over.",
    statement: fn("messenger.runs_since"),
    find: "select q.resumed_at",
    replace: "select null::timestamptz",
    noticedBy: healths,
  },
  {
    name: "health does not see work that nobody takes",
    breaks: "P12: health compares now with the oldest due message.",
    statement: fn("messenger.health_oldest_due"),
    find: "coalesce(v_seconds, 0) < 60 then 'healthy'",
    replace: "coalesce(v_seconds, 0) < 86400 then 'healthy'",
    noticedBy: healths,
  },
  {
    name: "health takes the clock's own claims for a worker",
    breaks: "P12: health is red while due messages have nobody who handles them.",
    statement: fn("messenger.health_workers"),
    find: " and w.worker !~ '^sql-[0-9]+$'",
    replace: "",
    noticedBy: healths,
  },
  {
    name: "status believes statistics against its own eyes",
    breaks: "A figure is never less than what was counted.",
    statement: fn("messenger.queue_figures"),
    find: "greatest(\n      v_depth, messenger.estimate_rows",
    replace: "greatest(\n      0, messenger.estimate_rows",
    noticedBy: ["supabase/status.test.ts"],
  },
  {
    name: "a count reads whatever it costs",
    breaks: "A window that is polled reads a bounded number of rows.",
    statement: fn("messenger.count_rows"),
    find: "<= 15000",
    replace: "<= 1e18",
    noticedBy: counts,
  },
  {
    name: "anybody's function runs as the owner of the bus",
    breaks: "Threats: what runs as the owner of the bus belongs to that owner.",
    statement: fn("messenger.own_functions"),
    find: "and p.proowner = (",
    replace: "and null is distinct from (",
    noticedBy: queues,
  },
  {
    name: "explain is silent when one cause cannot be looked at",
    breaks: "What keeps one cause from being looked at does not hide the others.",
    statement: fn("messenger.explain"),
    find: "exception when others then",
    replace: "exception when division_by_zero then",
    noticedBy: queues,
  },
  {
    name: "the place in the queue counts what is not due",
    breaks: "A message's place is the number of due messages that are handed out before it.",
    statement: fn("messenger.due_before"),
    find: "and m.available_at <= due_before.at",
    replace: "and m.available_at < 'infinity'",
    noticedBy: queues,
  },
  {
    name: "a snooze is taken for a failure",
    breaks: "Explain gives the cause of this delivery, not of an earlier one.",
    statement: fn("messenger.reason_backing_off"),
    find: "and a.fence = message.fence",
    replace: "",
    noticedBy: messages,
  },
  {
    name: "a wake-up that failed is forgotten once a later one is on its way",
    breaks: "Explain shows pg_net's last answer to our wake-ups.",
    statement: fn("messenger.reason_worker_unreachable"),
    find: "where b.answered_at is not null order by",
    replace: "order by",
    noticedBy: workers,
  },
];
