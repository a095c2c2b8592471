// messenger_explain of a message's own state: finished, not yet due, running, behind another of its ordering key.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import {
  call,
  claim,
  deadLetterOf,
  dispatch,
  dispatchAndClaim,
  messageOf,
  setClock,
  settle,
  tickByHand,
} from "../bus.ts";
import { discard, makeDeadLetter, makeDeadLetters } from "../operations/make_dead_letters.ts";
import { applyRemedy, causeOf, explain, isClaimable, reasons } from "./explain.ts";

const project = useProject({ testClock: true, isolation: "read committed" });
Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await tickByHand(sql, "https://example.test/functions/v1");
});

test("completed · the time and the delivery; there is no remedy", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await call(sql, "messenger_complete", { id, fence });
  const [row, ...others] = await explain(sql, id);
  assert.deepEqual([row.reason, row.remedy, others], ["completed", null, []]);
  assert.match(row.detail, /^completed at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(\d s ago\) with delivery 1$/);
});

test("failed · its error and dead letter; the remedy retries it", async () => {
  const { sql } = project();
  const { id } = await makeDeadLetter(sql, {}, { error: "no such address", error_class: "SmtpError" });
  const { detail } = await causeOf(sql, id, "failed");
  assert.match(detail, /after 1 deliveries: SmtpError: no such address; dead letter /);
  assert.ok(detail.endsWith((await deadLetterOf(sql, id)).id));
  assert.deepEqual((await applyRemedy(sql, id, "failed")).map(({ outcome }) => outcome), ["retried"]);
  assert.ok(await isClaimable(sql, id));
});

test("failed · without the dead letter, the remedy dispatches the message again", async () => {
  const { sql } = project();
  const { id } = await makeDeadLetter(sql, { payload: { to: "ada" }, priority: 9, metadata: { from: "x" } });
  await sql`delete from messenger_failed_messages`;
  const { remedy, detail } = await causeOf(sql, id, "failed");
  assert.match(detail, /no open dead letter/);
  const [copy] = await sql.unsafe(remedy);
  const { body, priority, metadata, queue_name } = await messageOf(sql, copy.id);
  assert.deepEqual([body, priority, metadata, queue_name], [{ to: "ada" }, 9, { from: "x" }, "dead"]);
});

test("expired, cancelled, discarded · each is named, and the remedy dispatches a copy", async () => {
  const { sql } = project();
  const { id: late } = await dispatch(sql, { expires_at: new Date(Date.now() + 60_000) });
  const { id: unwanted } = await dispatch(sql, { queue: "other" });
  await call(sql, "messenger_cancel", { id: unwanted });
  const { id: hopeless, deadLetter } = await makeDeadLetter(sql);
  await discard(sql, { ids: [deadLetter] });
  await setClock(sql, "2 minutes");
  await call(sql, "messenger_tick");
  for (const [id, reason] of [[late, "expired"], [unwanted, "cancelled"], [hopeless, "discarded"]]) {
    assert.deepEqual(await reasons(sql, id), [reason]);
    const { remedy } = await causeOf(sql, id, reason);
    const [copy] = await sql.unsafe(remedy);
    assert.deepEqual([(await messageOf(sql, copy.id)).status, copy.duplicate], ["pending", false], reason);
  }
});

test("delayed · the time until which; the remedy makes it due", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { delay: "3 hours" });
  assert.deepEqual(await reasons(sql, id), ["delayed"]);
  assert.match((await causeOf(sql, id, "delayed")).detail, /^not before .* UTC \(in 3 h\), as it was dispatched$/);
  await applyRemedy(sql, id, "delayed");
  assert.ok(await isClaimable(sql, id));
});

test("delayed · a slow retry of dead letters has its rate in the detail", async () => {
  const { sql } = project();
  const ids = await makeDeadLetters(sql, 3);
  await call(sql, "messenger_retry_failed", { filter: {}, per_second: 1 });
  const [last] =
    await sql`select id from messenger_messages where id = any (${ids}::uuid[]) order by available_at desc limit 1`;
  assert.match((await causeOf(sql, last.id, "delayed")).detail, /retried from the dead letters at 1 per second$/);
  assert.deepEqual(await reasons(sql, last.id), ["delayed"]);
});

test("backing off · the failed delivery and its error; the remedy retries at once", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "busy", error_class: "Http503", delay_ms: 600_000 }]);
  assert.deepEqual(await reasons(sql, id), ["backing_off"]);
  const { detail } = await causeOf(sql, id, "backing_off");
  assert.match(detail, /^delivery 1 of 4 failed at .*: Http503: busy; the next one is due at .* \(in 10 min\)$/);
  await applyRemedy(sql, id, "backing_off");
  assert.ok(await isClaimable(sql, id));
});

test("snoozed · by its handler, also after an earlier failure; the remedy makes it due", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "busy", delay_ms: 0 }]);
  const [again] = await claim(sql);
  await settle(sql, [{ id, fence: again.fence, outcome: "snoozed", delay_ms: 60_000 }]);
  assert.deepEqual(await reasons(sql, id), ["snoozed"]);
  await applyRemedy(sql, id, "snoozed");
  assert.ok(await isClaimable(sql, id));
});

test("expires · expired, before it is due, or later; the remedy removes the expiry", async () => {
  const { sql } = project();
  const soon = new Date(Date.now() + 60_000);
  const { id: waiting } = await dispatch(sql, { expires_at: soon });
  assert.equal((await reasons(sql, waiting)).at(-1), "expires");
  const { id: backing, fence } = await dispatchAndClaim(sql, { queue: "b", expires_at: soon }, { queues: ["b"] });
  await settle(sql, [{ id: backing, fence, outcome: "failed", error: "busy", delay_ms: 600_000 }]);
  assert.deepEqual(await reasons(sql, backing), ["expires", "backing_off"]);
  assert.match((await causeOf(sql, backing, "expires")).detail, /before it becomes due$/);
  await setClock(sql, "2 minutes");
  assert.equal((await reasons(sql, waiting))[0], "expires");
  assert.match((await causeOf(sql, waiting, "expires")).detail, /^expired at .* finishes it as expired$/);
  await applyRemedy(sql, waiting, "expires");
  assert.ok(await isClaimable(sql, waiting));
});

test("running · since when, by which worker, until when; a paused queue is not its cause", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql, {}, { worker: "edge 1", lease: "5 minutes" });
  await call(sql, "messenger_pause", { transport: "supabase", queue: "default" });
  await setClock(sql, "1 minute");
  const [row, ...others] = await explain(sql, id);
  assert.deepEqual([row.reason, row.remedy, others], ["running", null, []]);
  assert.match(
    row.detail,
    /^worker "edge 1" has been running it since .* \(60 s ago\) \(delivery 1 of 4\); its lease ends at .*\(in 4 min\)$/,
  );
});

test("locked · by which session and since when, without locking it; the remedy ends that session", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  const holder = session(project());
  await holder`begin`;
  await holder`select from messenger_messages where id = ${id} for update`;
  assert.ok(!await isClaimable(sql, id));
  assert.match((await causeOf(sql, id, "locked")).detail, /^process \d+ \(.+\) has locked its row in a transaction /);
  assert.ok(!(await reasons(holder, id)).includes("locked"), "its own lock is recognised");
  await applyRemedy(sql, id, "locked");
  assert.ok(await isClaimable(sql, id));
  await holder.end({ timeout: 1 });
});

test("lease lost · the earlier worker; the remedy returns the message, to be handed out alone", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql, {}, { lease: "10 s" });
  await setClock(sql, "30 s");
  assert.match((await causeOf(sql, id, "lease_lost")).detail, /worker ada expired .* as delivery 2 of 4/);
  await applyRemedy(sql, id, "lease_lost");
  const { remedy } = await causeOf(sql, id, "alone");
  assert.deepEqual((await sql.unsafe(remedy)).map(({ worker }) => worker), ["ada"]);
  assert.equal((await reasons(sql, id)).at(-1), "alone", "it blocks nothing");
  assert.ok(await isClaimable(sql, id));
});

test("lease lost · of the last delivery: the remedy makes it a dead letter", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql, { max_retries: 0 }, { lease: "10 s" });
  await setClock(sql, "30 s");
  assert.match((await causeOf(sql, id, "lease_lost")).detail, /moves it to the dead letters$/);
  await applyRemedy(sql, id, "lease_lost");
  assert.deepEqual(await reasons(sql, id), ["failed"]);
});

test("cancel requested · while it runs; after the lease the remedy cancels it", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql, {}, { lease: "10 s" });
  await call(sql, "messenger_cancel", { id });
  assert.deepEqual(await reasons(sql, id), ["running", "cancel_requested"]);
  assert.equal((await causeOf(sql, id, "cancel_requested")).remedy, null);
  await setClock(sql, "30 s");
  await applyRemedy(sql, id, "cancel_requested");
  assert.deepEqual(await reasons(sql, id), ["cancelled"]);
});

test("ordering key · the blocking message and its state; its remedies unblock this one", async () => {
  const { sql } = project();
  const key = { ordering_key: "o'brien" };
  const first = await dispatchAndClaim(sql, key);
  const { id: second } = await dispatch(sql, key);
  const { id: third } = await dispatch(sql, key);
  assert.deepEqual(await reasons(sql, third), ["ordering_key"]);
  const { detail, remedy } = await causeOf(sql, third, "ordering_key");
  assert.match(
    detail,
    new RegExp(
      `^waits for 2 earlier messages of its ordering key 'o''brien'; the first is ${first.id}, ` +
        "which worker ada has been running since ",
    ),
  );
  assert.equal((await sql.unsafe(remedy))[0].reason, "running");
  await settle(sql, [{ id: first.id, fence: first.fence, outcome: "failed", error: "busy", delay_ms: 60_000 }]);
  assert.match((await causeOf(sql, second, "ordering_key")).detail, /which becomes due at .* \(in 60 s\)$/);
  await applyRemedy(sql, first.id, "backing_off");
  const [again] = await claim(sql);
  await settle(sql, [{ id: first.id, fence: again.fence, outcome: "completed" }]);
  assert.ok(!(await reasons(sql, second)).includes("ordering_key"));
});

test("ordering key · left blocked by a race: the remedy unblocks it", async () => {
  const { sql } = project();
  await dispatch(sql, { ordering_key: "k" });
  const { id } = await dispatch(sql, { ordering_key: "k" });
  await sql`delete from messenger_messages where id <> ${id}`;
  assert.match(
    (await causeOf(sql, id, "ordering_key")).detail,
    /no earlier message of ordering key 'k' is unfinished: the next tick unblocks it$/,
  );
  await applyRemedy(sql, id, "ordering_key");
  assert.ok(await isClaimable(sql, id));
});

test("ordering dead letter · with policy block; the remedy retries it, and the next ones follow", async () => {
  const { sql } = project();
  await sql`update messenger_transports set config = '{"ordering_dead_letter": "block"}' where name = 'supabase'`;
  const { id: first, deadLetter } = await makeDeadLetter(sql, { ordering_key: "k", queue: "q" });
  const { id } = await dispatch(sql, { ordering_key: "k", queue: "q" });
  assert.deepEqual(await reasons(sql, id), ["ordering_dead_letter"]);
  assert.ok((await causeOf(sql, id, "ordering_dead_letter")).detail.includes(deadLetter));
  await applyRemedy(sql, id, "ordering_dead_letter");
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id: first, fence, outcome: "completed" }]);
  assert.ok(await isClaimable(sql, id));
});
