// Planted bugs of the ticker, rescue, pruning, and of the audit that must detect them.
import { fn, type Mutant } from "./mutant.ts";

const rescue = fn("messenger.rescue");
const rescued = fn("messenger.rescue_messages");
const finished = fn("messenger.find_finished_messages");
const audit = fn("public.messenger_audit");
const ticks = ["supabase/ticker/tick.test.ts"];
const prunes = ["supabase/ticker/prune.test.ts"];
const audits = ["supabase/monitoring/audit.test.ts"];

export const KEEPING: Mutant[] = [
  {
    name: "the ticker rescues by an old snapshot",
    breaks: "P3: a lease that was renewed, or a message that was completed, during the ticker's " +
      "scan is taken from its worker.",
    statement: rescue,
    find: "and (m.status = 'processing' and m.lock_expires_at < rescue.at\n" +
      "            or m.status = 'pending' and m.expires_at <= rescue.at)",
    // In the snapshot of the statement, the row is still as the ticker's scan found it.
    replace: "and m.id in (select s.id from public.messenger_messages s where s.status = 'processing' " +
      "and s.lock_expires_at < rescue.at" +
      " or s.status = 'pending' and s.expires_at <= rescue.at)",
    noticedBy: ticks,
  },
  {
    name: "the ticker waits for a worker",
    breaks: "P12: one locked row stops the ticker.",
    statement: rescue,
    find: "for no key update skip locked",
    replace: "for no key update",
    noticedBy: ticks,
  },
  {
    name: "a rescue does not count the delivery",
    breaks: "P6: a message that kills its workers never ends if no worker claims.",
    statement: rescued,
    find: "retry_count = m.retry_count + 1, lease_losses",
    replace: "retry_count = m.retry_count, lease_losses",
    noticedBy: ticks,
  },
  {
    name: "a rescued message is not a suspect",
    breaks: "P6: a message that killed its worker is handed out among others.",
    statement: rescued,
    find: "lease_losses = m.lease_losses + 1",
    replace: "lease_losses = m.lease_losses",
    noticedBy: ticks,
  },
  {
    name: "a rescue never makes dead letters",
    breaks: "P6: a message without deliveries left returns to the queue.",
    statement: rescued,
    find: "when m.retry_count >= m.max_retries then 'exhausted'",
    replace: "when m.retry_count > m.max_retries then 'exhausted'",
    noticedBy: ticks,
  },
  {
    name: "a rescue's scan never starts again",
    breaks: "P2: leases at the front of a long queue are never rescued again.",
    statement: rescue,
    find: "elsif v_from.id is not null then",
    replace: "elsif v_from.id is null then",
    noticedBy: ticks,
  },
  {
    name: "the ticker fails running messages past their expiry",
    breaks: "P11: a running message stays with its worker.",
    statement: rescue,
    find: "or m.status = 'pending' and m.expires_at <= rescue.at)",
    replace: "or m.expires_at <= rescue.at)",
    noticedBy: ticks,
  },
  {
    name: "a tick waits for the heartbeat of another",
    breaks: "P12: ticks from several tickers queue up.",
    statement: fn("messenger.note_tick"),
    find: "from messenger.clock x for update skip locked",
    replace: "from messenger.clock x for update",
    noticedBy: ticks,
  },
  {
    name: "the ticker wakes workers for an idle queue too often",
    breaks: "Idle means no calls: types without a handler cost one call per second.",
    statement: fn("messenger.wake"),
    find: "c.unregistered_wakeup_at not between wake.at - interval '1 minute' and wake.at",
    replace: "c.unregistered_wakeup_at < wake.at",
    noticedBy: ["supabase/ticker/wakeups.test.ts"],
  },
  {
    name: "the ticker sends no wake-ups for lost leases",
    breaks: "P2: a message whose worker died waits until another message is dispatched.",
    statement: fn("messenger.wake"),
    find: "(m.status = 'pending' or m.lock_expires_at < wake.at)",
    replace: "m.status = 'pending'",
    noticedBy: ["supabase/ticker/wakeups.test.ts"],
  },
  {
    name: "pruning deletes the messages of open dead letters",
    breaks: "P11: pruning never touches open dead letters.",
    statement: finished,
    find: "and f.resolved_at is null) as is_done",
    replace: "and f.resolved_at is not null) as is_done",
    noticedBy: prunes,
  },
  {
    name: "pruning ignores the retention",
    breaks: "P1: a finished message stays for its retention.",
    statement: finished,
    find: "find_finished_messages.at - coalesce((t.config ->> 'retention')::interval, '7 days')",
    replace: "find_finished_messages.at",
    noticedBy: prunes,
  },
  {
    name: "pruning counts the retention from the dispatch",
    breaks: "P11: a message that was delayed for weeks is deleted as soon as it is finished.",
    statement: finished,
    find: "m.processed_at < find_finished_messages.at - coalesce(",
    replace: "m.created_at < find_finished_messages.at - coalesce(",
    noticedBy: prunes,
  },
  {
    name: "pruning does not count",
    breaks: "I1: a message is deleted without being counted.",
    statement: fn("messenger.delete_messages"),
    find: "from gone g group by g.transport_name",
    replace: "from gone g where false group by g.transport_name",
    noticedBy: prunes,
  },
  {
    name: "pruning does not restart its scan at the end",
    breaks: "P11: after one scan nothing is pruned any more.",
    statement: finished,
    find: "then v_chunk.id end;",
    replace: "then v_chunk.id else coalesce(v_chunk.id, after_id) end;",
    noticedBy: prunes,
  },
  {
    name: "dead letters are deleted thirty days after their failure",
    breaks: "P11: the thirty days count from the resolution.",
    statement: fn("messenger.find_resolved_dead_letters"),
    find: "select x.id, x.resolved_at, x.transport_name",
    replace: "select x.id, x.failed_at as resolved_at, x.transport_name",
    noticedBy: prunes,
  },
  {
    name: "the audit does not detect missing dead letters",
    breaks: "I2: the proof proves nothing.",
    statement: audit,
    find: "is distinct from (l.open = 1 and l.open is not null)",
    replace: "is null",
    noticedBy: audits,
  },
  {
    name: "the audit does not detect two in flight of one key",
    breaks: "I9: the proof proves nothing.",
    statement: audit,
    find: "x.in_flight > 1",
    replace: "x.in_flight > 2",
    noticedBy: audits,
  },
  {
    name: "any secret of the Vault opens the worker",
    breaks: "The worker edge function accepts its own secret only.",
    statement: fn("messenger.worker_secret_digests"),
    find: "unnest(array['symphony_worker_secret', 'symphony_worker_secret_next'])",
    replace: "unnest(array(select x.name from vault.secrets x))",
    noticedBy: ["supabase/ticker/worker_secret.test.ts"],
  },
  {
    name: "the next worker secret is rejected during a rotation",
    breaks: "During a rotation both worker secrets are accepted.",
    statement: fn("messenger.worker_secret_digests"),
    find: ", 'symphony_worker_secret_next'",
    replace: "",
    noticedBy: ["supabase/ticker/worker_secret.test.ts"],
  },
  {
    name: "an empty secret in Vault is a worker secret",
    breaks: "An empty string is never accepted as the worker secret.",
    statement: fn("messenger.read_secret"),
    find: "nullif(s.decrypted_secret, '')",
    replace: "s.decrypted_secret",
    noticedBy: ["supabase/ticker/worker_secret.test.ts"],
  },
  {
    name: "pruning takes one chunk per tick",
    breaks: "Pruning keeps up with 2,000 rows of each kind per second.",
    statement: fn("messenger.prune"),
    find: "exit when clock_timestamp() > ends_at;",
    replace: "exit;",
    noticedBy: ["supabase/ticker/prune_rate.test.ts"],
  },
  {
    name: "a lost lease needs the table of dead letters",
    breaks: "While the project alters one table, work without that table continues.",
    statement: fn("messenger.finish_undeliverable"),
    find: "if v_exhausted <> '{}' then",
    replace: "if true then",
    noticedBy: ["faults/foreign_locks.test.ts"],
  },
  {
    name: "the lock of a foreign key blocks the rescue of a lost lease",
    breaks: "A message that a row of the project refers to is rescued like any other.",
    statement: fn("messenger.rescue"),
    find: "for no key update skip locked",
    replace: "for update skip locked",
    noticedBy: ["faults/foreign_locks.test.ts"],
  },
];
