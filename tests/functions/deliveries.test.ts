// Messages that fail, snooze or report progress, end to end: edge function, worker, handler, row.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { session } from "../project.ts";
import { testLocally, useTarget } from "../target.ts";

// Lingers longer than the retry delays of the example types, so that one call handles a message to its end.
const { target, project } = useTarget({ env: { SYMPHONY_WORKER_LINGER: "3000" } });

async function send(type: string, payload: Record<string, unknown>, options: Record<string, unknown> = {}) {
  const { status, body } = await target().call("dispatch", { json: { message: { type, payload }, options } });
  assert.equal(status, 201, JSON.stringify(body));
  await target().call("worker", { json: {} });
  return String(body.messageId);
}

async function finished(id: string) {
  return await eventually("the message is finished", async () => {
    const [row] = await project().sql`select * from messenger_messages where id = ${id}`;
    return row.processed_at && row;
  });
}

async function deadLetterOf(id: string) {
  const deadLetters = await project().sql`select * from messenger_failed_messages where message_id = ${id}`;
  assert.equal(deadLetters.length, 1, "one dead letter");
  return deadLetters[0];
}

async function audit(): Promise<void> {
  const broken = await project().sql`select * from messenger_audit() where violations > 0`;
  assert.deepEqual([...broken], []);
}

testLocally("deliveries · a failed handler runs again by its type's policy, and completes", async () => {
  const row = await finished(await send("ExampleFlaky", { failures: 2 }));
  assert.deepEqual([row.status, row.retry_count, row.fence, row.result.retryCount], ["completed", 2, "3", 2]);
  const failures = await project().sql`select at from messenger.attempts where message_id = ${row.id} order by fence`;
  const [first, second] = failures.map(({ at }) => at.getTime());
  // Jitter adds up to a fifth and never shortens a delay.
  assert.ok(second - first >= 300, `${second - first} ms before the first retry`);
  const before = Date.parse(row.result.startedAt) - second;
  assert.ok(before >= 450, `${before} ms before the second`);
  await audit();
});

testLocally("deliveries · a message without retries left becomes a dead letter with every attempt", async () => {
  const id = await send("ExampleHopeless", { order: 5 });
  const row = await finished(id);
  assert.deepEqual([row.status, row.retry_count, row.max_retries, row.result], ["failed", 3, 2, null]);
  assert.deepEqual([row.last_error, row.error_class], ["This handler never succeeds.", "Error"]);
  const deadLetter = await deadLetterOf(id);
  assert.deepEqual([deadLetter.body, deadLetter.message_type, deadLetter.resolved_at], [
    { order: 5 },
    "ExampleHopeless",
    null,
  ]);
  assert.equal(deadLetter.attempts.length, 3);
  for (const attempt of deadLetter.attempts) {
    assert.deepEqual([attempt.error, attempt.error_class], ["This handler never succeeds.", "Error"]);
    assert.match(attempt.worker, /^edge-local-/);
    assert.ok(attempt.duration_ms >= 0 && Date.parse(attempt.at) > 0);
  }
  assert.match(deadLetter.error_trace, /example_hopeless\.ts/);
  await audit();
});

testLocally("deliveries · maxRetries of the dispatch overrides the type's", async () => {
  const row = await finished(await send("ExampleFlaky", { failures: 1 }, { maxRetries: 0 }));
  assert.deepEqual([row.status, row.retry_count, row.fence], ["failed", 1, "1"]);
});

testLocally("deliveries · a payload that no longer fits its schema is dead at once, without running", async () => {
  const [{ id }] = await project().sql`select id from messenger_dispatch('ExampleSlow', '{"ms": "soon"}')`;
  await target().call("worker", { json: {} });
  const row = await finished(id);
  assert.deepEqual([row.status, row.fence, row.error_class], ["failed", "1", "InvalidPayload"]);
  const deadLetter = await deadLetterOf(id);
  assert.equal(deadLetter.attempts.length, 1);
  assert.match(deadLetter.error, /ExampleSlow: ms/);
  await audit();
});

testLocally("deliveries · a snooze delays a message and uses no retry", async () => {
  const until = new Date(Date.now() + 900).toISOString();
  const row = await finished(await send("ExampleSnooze", { until }, { maxRetries: 0 }));
  assert.deepEqual([row.status, row.retry_count, row.result.retryCount], ["completed", 0, 0]);
  assert.ok(Number(row.fence) >= 2, "it was delivered before and after");
  assert.ok(Date.parse(row.result.startedAt) >= Date.parse(until));
});

testLocally("deliveries · a delayed message is not handled before its time", async () => {
  const row = await finished(await send("ExampleQuick", {}, { delay: 1_000 }));
  assert.ok(Date.parse(row.result.startedAt) >= row.available_at.getTime());
  assert.ok(row.available_at.getTime() >= row.created_at.getTime() + 1_000);
});

testLocally("deliveries · an expired message is never handled, and leaves no dead letter", async () => {
  const expiresAt = new Date(Date.now() + 120_000).toISOString();
  const id = await send("ExampleQuick", {}, { delay: 60_000, expiresAt });
  // Due and expired at the same time, like a message that no worker claimed in time.
  await project().sql`update messenger_messages set available_at = messenger.now() - interval '2 s',
    expires_at = messenger.now() - interval '1 s' where id = ${id}`;
  await target().call("worker", { json: {} });
  const row = await finished(id);
  assert.deepEqual([row.status, row.error_class, row.fence, row.result], ["failed", "Expired", "0", null]);
  const deadLetters = await project().sql`select from messenger_failed_messages where message_id = ${id}`;
  assert.equal(deadLetters.length, 0);
  await audit();
});

testLocally("deliveries · only the sender can read the progress while the handler runs", async () => {
  const [ada, bob] = [await target().newUser(), await target().newUser()];
  // In SQL the transaction's own user is the sender.
  await using own = session(project());
  const [{ id }] = await own.begin(async (sql) => {
    await sql`select set_config('request.jwt.claims', ${JSON.stringify({ sub: ada.id })}, true)`;
    return await sql`select id from messenger_dispatch('ExampleSlow', '{"ms": 4000}')`;
  });
  await target().call("worker", { json: {} });

  const read = (user: typeof ada, columns: string) =>
    target().api(user).from("messenger_messages").select(columns).eq("id", id);
  const seen = await eventually("progress is seen", async () => {
    const { data, error } = await read(ada, "id,status,progress,result");
    assert.equal(error, null);
    const [row] = data as unknown as { status: string; progress: { percent: number } | null }[];
    return row.progress && row.progress.percent > 0 && row;
  });
  assert.equal(seen.status, "processing", "the handler still ran");

  assert.deepEqual((await read(bob, "id")).data, [], "another user sees no row");
  for (const column of ["last_error", "headers", "metadata", "locked_by", "body", "*"]) {
    assert.equal((await read(ada, column)).error?.code, "42501", column);
  }
  const byFunction = await target().call(`dispatch/${id}`, { as: ada });
  assert.ok((byFunction.body.progress as { percent: number }).percent > 0);

  const row = await finished(id);
  assert.deepEqual([row.status, row.result.ok], ["completed", true]);
  const after = await target().call(`dispatch/${id}`, { as: ada });
  assert.deepEqual([after.body.status, (after.body.result as { ok: boolean }).ok], ["completed", true]);
});

testLocally("deliveries · trace headers arrive in the handler's envelope", async () => {
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const { body } = await target().call("dispatch", {
    json: { message: { type: "TestTraced", payload: {} } },
    headers: { traceparent },
  });
  // The claimed row has the same headers as the handler's envelope.
  const [delivery] = await project().sql`select * from messenger_claim('tester', types => array['TestTraced'])`;
  assert.deepEqual([delivery.id, delivery.headers], [body.messageId, { traceparent }]);
});
