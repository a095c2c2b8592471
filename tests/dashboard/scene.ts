// A bus with messages in all states, dead letters, schedules, workers and metrics, for tests of whole views.
import type { Sql } from "postgres";
import { call, claim, dispatch, dispatchAndClaim, dispatchMany, settle, tickByHand } from "../supabase/bus.ts";

/** Sets an hour of work: completed, retried and dead messages, a paused queue, an ordered pair, schedules, workers. */
export async function setScene(sql: Sql, functionsUrl: string): Promise<void> {
  await tickByHand(sql, functionsUrl);
  await sql`
    insert into messenger.metrics (step_seconds, at, transport_name, message_type, dispatched, completed, retried,
      dead, duration_ms, durations)
    select 60, date_trunc('minute', messenger.now()) - n * interval '1 minute', 'supabase', 'EmailMessage',
      40 + 30 * sin(n / 7.0) + n % 5, 38 + 30 * sin(n / 7.0), 1 + n % 4,
      case when n % 11 = 0 then 1 else 0 end, 40 * 120,
      (select array_agg(case when b < 18 then 0 else 1 + 20 / (1 + abs(b - 26 - 3 * sin(n / 9.0))) end::bigint
          order by b)
        from generate_series(0, 38) b)
    from generate_series(1, 59) n`;
  await dispatchMany(sql, 6, { type: "EmailMessage", queue: "email" });
  const done = await claim(sql, { worker: "edge-eu-west-1-4f2a", batch: 6 });
  await settle(
    sql,
    done.map(({ id, fence }, n) => ({ id, fence, outcome: "completed", duration_ms: 40 + n, result: { sent: true } })),
  );
  for (const [type, error_class, error] of FAILURES) {
    const { id, fence } = await dispatchAndClaim(sql, {
      type,
      queue: "email",
      payload: { to: "ada@example.com", subject: "Your receipt" },
    }, { worker: "edge-eu-west-1-4f2a" });
    await settle(sql, [{ id, fence, outcome: "failed", error, error_class, retryable: false, duration_ms: 430 }]);
  }
  const retried = await dispatchAndClaim(sql, { type: "EmailMessage", queue: "email" }, {
    worker: "edge-eu-west-1-4f2a",
  });
  await settle(sql, [{
    id: retried.id,
    fence: retried.fence,
    outcome: "failed",
    error: "connect ETIMEDOUT",
    error_class: "Timeout",
    delay_ms: 60_000,
    duration_ms: 480,
  }]);
  await dispatchAndClaim(sql, { type: "Report", queue: "reports", ordering_key: "customer-7" }, {
    worker: "edge-eu-west-1-9c01",
  });
  await dispatch(sql, { type: "Report", queue: "reports", ordering_key: "customer-7" });
  await dispatchMany(sql, 3, { type: "CampaignMessage", queue: "campaigns", priority: 3 });
  await call(sql, "messenger_pause", { transport: "supabase", queue: "campaigns" });
  await dispatchMany(sql, 2, { type: "EmailMessage", queue: "email", delay: "2 hours" });
  await call(sql, "messenger_schedule", {
    name: "daily digest",
    type: "Digest",
    schedule: { cron: "0 9 * * mon-fri" },
    timezone: "Europe/Berlin",
  });
  await call(sql, "messenger_schedule", { name: "sync stock", type: "StockSync", schedule: { interval: 300_000 } });
  await call(sql, "messenger_pause_schedule", { name: "sync stock" });
  await call(sql, "messenger_tick");
}

const FAILURES: [type: string, errorClass: string, error: string][] = [
  ["EmailMessage", "MailboxFull", "552 5.2.2 The mailbox of ada@example.com is full"],
  ["EmailMessage", "MailboxFull", "552 5.2.2 The mailbox of grace@example.com is full"],
  ["Invoice", "TypeError", "Cannot read properties of undefined (reading 'total')"],
];
