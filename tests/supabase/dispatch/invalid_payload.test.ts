// InvalidPayload: a user's message with a payload that does not fit its type ends without a dead letter and outside the
// error rate.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, deadLetterOf, dispatch, messageOf, type Row, settle } from "../bus.ts";

const project = useProject();
const ada = crypto.randomUUID();

Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await call(sql, "messenger_register", { types: [{ type: "Wish", dispatchable_by: "user" }] });
});

const wish = () =>
  asRole(
    project().sql,
    "authenticated",
    async (tx) => (await call(tx, "messenger_user_dispatch", { type: "Wish" }))[0],
    ada,
  );
const invalid = ({ id, fence }: Row, more: Row = {}) => ({
  id,
  fence,
  outcome: "failed",
  error: "want: expected a string",
  error_class: "InvalidPayload",
  retryable: false,
  ...more,
});
const audit = async () =>
  (await call(project().sql, "messenger_audit")).filter(({ violations }) => Number(violations) > 0);

test("a user's invalid payload · the message ends at once, without a dead letter, with its reason", async () => {
  const { sql } = project();
  const { id } = await wish();
  const [row] = await claim(sql);
  const [reply] = await settle(sql, [invalid(row)]);
  assert.deepEqual([reply.outcome, reply.available_at], ["dead", null]);
  const message = await messageOf(sql, id);
  assert.deepEqual(
    [message.status, message.error_class, message.last_error, message.retry_count],
    ["failed", "InvalidPayload", "want: expected a string", 1],
  );
  assert.equal(await deadLetterOf(sql, id), undefined);
  assert.deepEqual(await audit(), []);
  const [reason] = await call(sql, "messenger_explain", { id });
  assert.deepEqual(reason.reason, "invalid_payload");
  assert.match(reason.detail, /want: expected a string/);
  assert.match(reason.remedy, /dispatch a new message/);
});

test("a user's invalid payload · is final even if reported as retryable; a repetition is 'already'", async () => {
  const { sql } = project();
  await wish();
  const [row] = await claim(sql);
  assert.equal((await settle(sql, [invalid(row, { retryable: true })]))[0].outcome, "dead");
  assert.equal((await settle(sql, [invalid(row)]))[0].outcome, "already");
});

test("a user's invalid payload · a thousand of them leave health and the error rate as they are", async () => {
  const { sql } = project();
  await sql`update messenger.settings set max_unfinished_per_user = 100000`;
  await asRole(sql, "authenticated", async (tx) => {
    await tx`select messenger_user_dispatch('Wish') from generate_series(1, 1000)`;
  }, ada);
  const rows = await claim(sql, { batch: 1000 });
  assert.equal(rows.length, 1000);
  await settle(sql, rows.map((row) => invalid(row)));
  await callValue(sql, "messenger_tick");
  const { checks } = await callValue(sql, "messenger_health");
  for (const name of ["dead_letters", "error_rate"]) {
    assert.equal(checks.find((check: Row) => check.name === name).status, "healthy", name);
  }
  assert.deepEqual(await audit(), []);
});

test("a service's invalid payload · is a dead letter, because it needs a decision", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { type: "Wish" });
  const [row] = await claim(sql);
  assert.equal((await settle(sql, [invalid(row)]))[0].outcome, "dead");
  assert.equal((await deadLetterOf(sql, id)).error_class, "InvalidPayload");
  assert.deepEqual(await audit(), []);
});

test("a user's other failure · is a dead letter", async () => {
  const { sql } = project();
  const { id } = await wish();
  const [row] = await claim(sql);
  await settle(sql, [invalid(row, { error_class: "TypeError" })]);
  assert.equal((await deadLetterOf(sql, id)).error_class, "TypeError");
});

test("a mixed batch · each message ends by its own outcome", async () => {
  const { sql } = project();
  for (let n = 0; n < 3; n++) await wish();
  const [a, b, c] = await claim(sql);
  const outcomes = [
    invalid(a),
    { id: b.id, fence: b.fence, outcome: "completed" },
    { id: c.id, fence: c.fence, outcome: "failed", error: "later" },
  ];
  assert.deepEqual((await settle(sql, outcomes)).map(({ outcome }) => outcome), ["dead", "completed", "retry"]);
  assert.deepEqual(await audit(), []);
});

test("a dead letter that 0.1.0 made of a user's invalid payload is no violation", async () => {
  const { sql } = project();
  const { id } = await wish();
  const [row] = await claim(sql);
  await settle(sql, [invalid(row, { error_class: "TypeError" })]);
  await sql`update messenger_messages set error_class = 'InvalidPayload' where id = ${id}`;
  assert.deepEqual(await audit(), []);
});
