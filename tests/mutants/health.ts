// Planted bugs of monitoring: status, health, explain.
import { fn, type Mutant } from "./mutant.ts";

const healths = ["supabase/monitoring/health.test.ts"];
const counts = ["supabase/monitoring/counting.test.ts"];
const messages = ["supabase/monitoring/explain_message.test.ts"];
const queues = ["supabase/monitoring/explain_queue.test.ts"];
const workers = ["supabase/monitoring/explain_worker.test.ts"];

export const WATCHING: Mutant[] = [
  {
    name: "health ignores that the ticker has stopped",
    breaks: "P12: health is unhealthy within two minutes.",
    statement: fn("messenger.is_ticker_stopped"),
    find: "interval '70 seconds'",
    replace: "interval '1 hour'",
    noticedBy: healths,
  },
  {
    name: "a ticker that was stopped counts as running for 70 seconds",
    breaks: "P12: after messenger_stop health reports no problem.",
    statement: fn("messenger.is_ticker_stopped"),
    find: "not s.clock_enabled and",
    replace: "false and",
    noticedBy: healths,
  },
  {
    name: "a queue that has just resumed is overdue at once",
    breaks: "P12: an alarm is raised for a pause that has ended.",
    statement: fn("messenger.runs_since"),
    find: "select q.resumed_at",
    replace: "select null::timestamptz",
    noticedBy: healths,
  },
  {
    name: "health ignores due messages that no worker claims",
    breaks: "P12: health compares the current time with the oldest due message.",
    statement: fn("messenger.health_oldest_due"),
    find: "coalesce(v_seconds, 0) < 60 then 'healthy'",
    replace: "coalesce(v_seconds, 0) < 86400 then 'healthy'",
    noticedBy: healths,
  },
  {
    name: "health counts the ticker's own claims as a worker",
    breaks: "P12: health is unhealthy while no worker handles due messages.",
    statement: fn("messenger.health_workers"),
    find: " and w.worker !~ '^sql-[0-9]+$'",
    replace: "",
    noticedBy: healths,
  },
  {
    name: "status prefers statistics to its own count",
    breaks: "A figure is never less than the counted rows.",
    statement: fn("messenger.queue_figures"),
    find: "greatest(\n      v_depth, messenger.estimate_rows",
    replace: "greatest(\n      0, messenger.estimate_rows",
    noticedBy: ["supabase/monitoring/status.test.ts"],
  },
  {
    name: "a count reads any number of rows",
    breaks: "A monitoring call that is polled reads a bounded number of rows.",
    statement: fn("messenger.count_rows"),
    find: "<= 15000",
    replace: "<= 1e18",
    noticedBy: counts,
  },
  {
    name: "functions of any owner run as the owner of the bus",
    breaks: "Threats: functions that run as the owner of the bus belong to that owner.",
    statement: fn("messenger.own_functions"),
    find: "and p.proowner = (",
    replace: "and null is distinct from (",
    noticedBy: queues,
  },
  {
    name: "explain returns nothing if one cause cannot be checked",
    breaks: "A cause that cannot be checked does not hide the others.",
    statement: fn("messenger.explain"),
    find: "exception when others then",
    replace: "exception when division_by_zero then",
    noticedBy: queues,
  },
  {
    name: "the position in the queue includes messages that are not due",
    breaks: "The position of a message is the number of due messages that are handed out before it.",
    statement: fn("messenger.due_before"),
    find: "and m.available_at <= due_before.at",
    replace: "and m.available_at < 'infinity'",
    noticedBy: queues,
  },
  {
    name: "a snooze counts as a failure",
    breaks: "Explain names the cause of this delivery, not of an earlier one.",
    statement: fn("messenger.reason_backing_off"),
    find: "and a.fence = message.fence",
    replace: "",
    noticedBy: messages,
  },
  {
    name: "a failed wake-up is ignored after a later one has been sent",
    breaks: "Explain shows pg_net's last response to the wake-ups.",
    statement: fn("messenger.reason_worker_unreachable"),
    find: "where b.answered_at is not null order by",
    replace: "order by",
    noticedBy: workers,
  },
  {
    name: "the list of many queues counts blocked messages as delayed",
    breaks: "Each queue has the same figures, however many there are.",
    statement: fn("messenger.figures_by_queue"),
    find: "count(*) filter (where m.available_at = 'infinity') as blocked",
    replace: "count(*) filter (where false) as blocked",
    noticedBy: ["supabase/monitoring/list_queues.test.ts"],
  },
];
