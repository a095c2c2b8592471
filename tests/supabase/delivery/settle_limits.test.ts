// Sizes of outcomes and delays of retries: results, error texts, error classes, delays by policy.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, claim, dispatch, dispatchAndClaim, dispatchMany, messageOf, secondsUntil, settle } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

async function fail(fields: Record<string, unknown>, dispatched: Record<string, unknown> = {}) {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, dispatched);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e", ...fields }]);
  return await messageOf(sql, id);
}

async function complete(result: string) {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await sql.unsafe(
    `select * from messenger_settle(jsonb_build_array(jsonb_build_object('id', '${id}', 'fence', ${fence}, 'outcome',
      'completed', 'result', ${result})))`,
  );
  return (await messageOf(sql, id)).result;
}

test("result · any JSON is stored, null is none", async () => {
  assert.deepEqual(await complete(`'[1, {"a": null}]'::jsonb`), [1, { a: null }]);
  assert.equal(await complete(`'"text"'::jsonb`), "text");
  assert.equal(await complete("'null'::jsonb"), null);
});

test("result · of 64 KB is stored, a byte more is replaced by a marker with its size", async () => {
  assert.equal((await complete("to_jsonb(repeat('x', 65534))")).length, 65534);
  assert.deepEqual(await complete("to_jsonb(repeat('x', 65535))"), {
    symphony_dropped: "larger than 64 KB",
    bytes: 65537,
  });
});

test("result · a number that no double can represent is replaced by a marker, before it is printed", async () => {
  assert.deepEqual(await complete(`'{"n": 1e131071}'::jsonb`), {
    symphony_dropped: "a number outside the range of a double",
  });
});

test("error · is cut to 8 KB, between characters", async () => {
  for (const character of ["x", "ä", "€", "💥"]) {
    const { last_error } = await fail({ error: "!" + character.repeat(9000), error_trace: character.repeat(9000) });
    const size = new TextEncoder().encode(last_error).length;
    assert(size <= 8192 && size > 8192 - 16, `${character}: ${size} bytes`);
    assert.equal(last_error, "!" + character.repeat([...last_error].length - 1));
  }
  const [{ longest }] = await project().sql`select max(octet_length(error_trace)) as longest from messenger.attempts`;
  assert(longest <= 8192 && longest > 8170, `${longest}`);
});

test("error · a text of exactly 8 KB is kept whole, one of 1 MB is accepted", async () => {
  assert.equal((await fail({ error: "x".repeat(8192) })).last_error.length, 8192);
  assert.equal((await fail({ error: "x".repeat(1_000_000) })).last_error.length, 8192);
});

test("error · mixed widths are cut to the largest fitting prefix", async () => {
  const { last_error } = await fail({ error: "💥".repeat(1000) + "x".repeat(9000) });
  assert.equal(new TextEncoder().encode(last_error).length, 8192);
});

test("error · a missing text is stored as such", async () => {
  for (const error of [null, undefined]) assert.equal((await fail({ error })).last_error, "no error text was given");
});

test("class · reserved ones are stored as the handler's own, a missing one is Error", async () => {
  for (const name of ["Expired", "Cancelled", "Discarded", "LeaseExpired"]) {
    assert.equal((await fail({ error_class: name })).error_class, `Handler${name}`);
  }
  assert.equal((await fail({ error_class: null })).error_class, "Error");
  assert.equal((await fail({ error_class: "" })).error_class, "Error");
  assert.equal((await fail({ error_class: "C".repeat(500) })).error_class.length, 200);
});

test("class · a dead letter of a reserved class is a dead letter all the same", async () => {
  const { id } = await fail({ error_class: "Expired", retryable: false });
  const { sql } = project();
  assert.equal(
    (await sql`select from messenger_failed_messages where message_id = ${id} and error_class = 'HandlerExpired'`)
      .length,
    1,
  );
});

async function waits(type: string, failures: number, times = 20): Promise<number[]> {
  const { sql } = project();
  const seconds: number[] = [];
  const ids = await dispatchMany(sql, times, { type, max_retries: 100 });
  await sql`update messenger_messages set retry_count = ${failures - 1}, fence = ${failures} where id = any(${ids})`;
  const rows = await claim(sql, { batch: times });
  const before = Date.now();
  for (
    const { available_at } of await settle(
      sql,
      rows.map(({ id, fence }) => ({ id, fence, outcome: "failed", error: "e" })),
    )
  ) {
    seconds.push((available_at.getTime() - before) / 1000);
  }
  return seconds;
}

// available_at counts from the database's now, which lies up to this much after the test's.
const slack = 1;
const within = (seconds: number[], least: number, most: number) =>
  assert(
    seconds.every((s) => s >= least && s <= most + slack),
    `${Math.min(...seconds)} to ${Math.max(...seconds)} in [${least}, ${most}]`,
  );

test("delay · the default policy: one second, doubled, at most ten minutes, up to a fifth more", async () => {
  within(await waits("Plain", 1), 1, 1.2);
  within(await waits("Plain", 2), 2, 2.4);
  within(await waits("Plain", 5), 16, 19.2);
  within(await waits("Plain", 10), 512, 614.4);
  within(await waits("Plain", 11), 600, 720);
  within(await waits("Plain", 100), 600, 720);
});

test("delay · a registered type's own policy", async () => {
  const retry = { delay_ms: 30_000, multiplier: 3, max_delay_ms: 200_000, jitter: 0 };
  await call(project().sql, "messenger_register", { types: [{ type: "Slow", retry }] });
  within(await waits("Slow", 1, 3), 30, 30);
  within(await waits("Slow", 2, 3), 90, 90);
  within(await waits("Slow", 3, 3), 200, 200);
});

test("delay · jitter only lengthens, and spreads", async () => {
  await call(project().sql, "messenger_register", {
    types: [{ type: "Spread", retry: { delay_ms: 100_000, jitter: 1 } }],
  });
  const seconds = await waits("Spread", 1, 60);
  within(seconds, 100, 200);
  assert(Math.max(...seconds) - Math.min(...seconds) > 30, "spread");
});

test("delay · a policy whose power overflows is capped, not an error", async () => {
  const retry = { max_retries: 100, delay_ms: 86_400_000, multiplier: 100, max_delay_ms: 86_400_000_000, jitter: 0 };
  await call(project().sql, "messenger_register", { types: [{ type: "Huge", retry }] });
  within(await waits("Huge", 100, 2), 86_400_000, 86_400_000);
});

test("delay · delay_ms overrides the policy, to the millisecond and to zero", async () => {
  const { sql } = project();
  const seconds = await secondsUntil(sql, (await fail({ delay_ms: 3_600_000 })).available_at);
  assert(seconds > 3590 && seconds <= 3600, `${seconds}`);
  assert(await secondsUntil(sql, (await fail({ delay_ms: 0 })).available_at) <= 0);
});

test("delay · one out of range is set to its limit, an invalid one ignored; no outcome is lost", async () => {
  const { sql } = project();
  const cases: [delay: string, least: number, most: number][] = [
    ["-5", -1, 0],
    ["-1e300", -1, 0],
    ["1e15", 3_155_760_000, 3_155_760_000],
    ["1e400", 3_155_760_000, 3_155_760_000],
    ["60000.7", 60, 60.1],
    ['"60000"', 60, 60],
    ["null", 1, 1.2],
    ["true", 1, 1.2],
    ['"soon"', 1, 1.2],
    ["{}", 1, 1.2],
  ];
  for (const outcome of ["failed", "snoozed"]) {
    for (const [delay, least, most] of cases) {
      const { id, fence } = await dispatchAndClaim(sql);
      const other = await dispatchAndClaim(sql);
      const outcomes = `[{"id": "${id}", "fence": ${fence}, "outcome": "${outcome}", "delay_ms": ${delay}},
        {"id": "${other.id}", "fence": ${other.fence}, "outcome": "completed"}]`;
      const rows = await sql`select * from messenger_settle(${outcomes}::text::jsonb)`;
      assert.deepEqual(
        rows.map((row) => row.outcome),
        [outcome === "failed" ? "retry" : "snoozed", "completed"],
        delay,
      );
      const seconds = await secondsUntil(sql, rows[0].available_at);
      // Without a delay a snoozed message is due at once.
      const isPolicy = outcome === "snoozed" && least === 1;
      assert(
        seconds > (isPolicy ? -5 : least - 5) && seconds <= (isPolicy ? 0 : most),
        `${outcome} ${delay}: ${seconds}`,
      );
      await sql`truncate messenger_messages`;
    }
  }
});

test("duration · one out of range is set to its limit, an invalid one measured; the outcome counts", async () => {
  const { sql } = project();
  const cases: [duration: string, least: number, most: number][] = [
    ["-5", 0, 0],
    ["12.6", 13, 13],
    ["1e30", 1e15, 1e15],
    ["1e400", 1e15, 1e15],
    ['"7"', 7, 7],
    ["null", 0, 10_000],
    ["[]", 0, 10_000],
    ['"long"', 0, 10_000],
  ];
  for (const [duration, least, most] of cases) {
    const failed = await dispatchAndClaim(sql);
    const done = await dispatchAndClaim(sql);
    const outcomes =
      `[{"id": "${failed.id}", "fence": ${failed.fence}, "outcome": "failed", "duration_ms": ${duration}},
      {"id": "${done.id}", "fence": ${done.fence}, "outcome": "completed", "duration_ms": ${duration}}]`;
    const rows = await sql`select * from messenger_settle(${outcomes}::text::jsonb)`;
    assert.deepEqual(rows.map((row) => row.outcome), ["retry", "completed"], duration);
    const [{ duration_ms }] = await sql`select duration_ms from messenger.attempts where message_id = ${failed.id}`;
    assert(Number(duration_ms) >= least && Number(duration_ms) <= most, `${duration}: ${duration_ms}`);
    await sql`truncate messenger_messages`;
  }
});

test("race · two settles in opposite order do not deadlock", async () => {
  await using first = session(project());
  await using second = session(project());
  for (let round = 0; round < 10; round++) {
    const ids = await dispatchMany(project().sql, 100, { queue: `q${round}` });
    const rows = await claim(project().sql, { queues: [`q${round}`], batch: 100 });
    const outcomes = rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" }));
    const replies = (await Promise.all([settle(first, outcomes), settle(second, outcomes.toReversed())])).flat();
    assert.equal(replies.filter(({ outcome }) => outcome === "completed").length, ids.length);
    assert.equal(replies.filter(({ outcome }) => outcome === "already" || outcome === "locked").length, ids.length);
  }
});

test("race · a settle skips a locked row, records the others, and is repeated for that row", async () => {
  await using holder = session(project());
  const [a, b] = await dispatchMany(project().sql, 2);
  const rows = await claim(project().sql);
  const outcomes = rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" }));
  await holder`begin`;
  await holder`select from messenger_messages where id = ${a} for update`;
  const replies = await settle(project().sql, outcomes.toReversed());
  assert.deepEqual(replies.map(({ id, outcome }) => [id, outcome]), [[b, "completed"], [a, "locked"]]);
  assert.equal((await messageOf(project().sql, a)).status, "processing");
  await holder`rollback`;
  assert.deepEqual((await settle(project().sql, outcomes)).map(({ outcome }) => outcome), ["completed", "already"]);
});

test("race · of a completion and a claim of the lost lease one succeeds, and the other is rejected", async () => {
  await using worker = session(project());
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await sql`select messenger.set_clock('61 seconds')`;
  await worker`begin`;
  assert.equal((await settle(worker, [{ id, fence, outcome: "completed" }]))[0].outcome, "completed");
  assert.deepEqual(await claim(sql, { worker: "bob" }), []);
  await worker`commit`;
  assert.equal((await messageOf(sql, id)).status, "completed");

  const other = await dispatch(sql);
  const [mine] = await claim(sql);
  await sql`select messenger.set_clock('5 minutes')`;
  await using taker = session(project());
  await taker`begin`;
  assert.equal((await claim(taker, { worker: "bob" }))[0].id, other.id);
  const mineDone = [{ id: mine.id, fence: mine.fence, outcome: "completed" }];
  assert.equal((await settle(sql, mineDone))[0].outcome, "locked");
  await taker`commit`;
  assert.equal((await settle(sql, mineDone))[0].outcome, "stale");
  assert.deepEqual([(await messageOf(sql, other.id)).locked_by, (await messageOf(sql, other.id)).status], [
    "bob",
    "processing",
  ]);
});
