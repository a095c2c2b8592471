// messenger_complete_with: a business function and the completion in one transaction, so that a message delivered twice
// has one effect.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { callValue, claim, dispatch, dispatchAndClaim, messageOf, setClock } from "../bus.ts";
import { assertUntouched, completeWith, effects, makeEffects } from "./effects.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";
import { limitLockWaits, untilPolling, waitLongForRows } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(async () => {
  await limitLockWaits(project().sql);
  await makeEffects(project().sql);
});
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`truncate public.effects`;
});

test("complete_with · runs the function, stores its result as the message's, and returns it", async () => {
  const { sql } = project();
  const delivery = await dispatchAndClaim(sql);
  const reply = await completeWith(sql, delivery, "public.take_effect", { order: 7 });
  assert.deepEqual(reply, { outcome: "completed", result: { got: { order: 7 } } });
  const row = await messageOf(sql, delivery.id);
  assert.deepEqual([row.status, row.result, row.locked_by], ["completed", { got: { order: 7 } }, null]);
  assert.deepEqual(await effects(project().sql), [{ order: 7 }]);
});

test("complete_with · repeated after a lost reply it returns 'already' and runs nothing", async () => {
  const { sql } = project();
  const delivery = await dispatchAndClaim(sql);
  await completeWith(sql, delivery, "take_effect", { order: 7 });
  for (const name of ["take_effect", "is_rejected", "no_such_function"]) {
    assert.deepEqual(await completeWith(sql, delivery, name, { order: 8 }), { outcome: "already" });
  }
  assert.deepEqual(await effects(project().sql), [{ order: 7 }]);
});

test("complete_with · without args the function gets {}; null and other JSON values are unchanged", async () => {
  const { sql } = project();
  await completeWith(sql, await dispatchAndClaim(sql), "take_effect");
  await sql`select messenger_complete_with(id, fence, 'take_effect', null) from messenger_claim(${(await dispatch(sql),
    "ada")})`;
  await sql`select messenger_complete_with(id, fence, 'take_effect', '[1]') from messenger_claim(${(await dispatch(sql),
    "ada")})`;
  assert.deepEqual(await effects(project().sql), [{}, {}, [1]]);
});

test("complete_with · a result over 64 KB is replaced by a marker, and does not fail the message", async () => {
  const { sql } = project();
  const delivery = await dispatchAndClaim(sql);
  const { outcome, result } = await completeWith(sql, delivery, "take_effect", { pad: "x".repeat(70_000) });
  assert.deepEqual([outcome, result.got.pad.length], ["completed", 70_000]);
  assert.equal((await messageOf(sql, delivery.id)).result.symphony_dropped, "larger than 64 KB");
});

test("complete_with · an old lease, or a missing message, is rejected before the function runs", async () => {
  const { sql } = project();
  const delivery = await dispatchAndClaim(sql);
  // A function that would raise an error is not even called.
  for (const name of ["take_effect", "is_rejected", "no_such_function"]) {
    await assertRejected(completeWith(sql, { ...delivery, fence: "9" }, name), "SM_STALE_LEASE", 409);
  }
  await assertRejected(
    completeWith(sql, { ...delivery, id: crypto.randomUUID() }, "take_effect"),
    "SM_STALE_LEASE",
    409,
  );
  await assertRejected(completeWith(sql, { ...delivery, id: null as never }, "take_effect"), "SM_STALE_LEASE", 409);
  await assertUntouched(project().sql, delivery);
  await callValue(sql, "messenger_release", { id: delivery.id, fence: delivery.fence });
  await assertRejected(completeWith(sql, delivery, "take_effect"), "SM_STALE_LEASE", 409);
  assert.deepEqual(await effects(project().sql), []);
});

test("complete_with · a message delivered twice has one effect: the first worker comes too late", async () => {
  const { sql } = project();
  const first = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  const [second] = await claim(sql, { worker: "bob" });
  await assertRejected(completeWith(sql, first, "take_effect", { by: "ada" }), "SM_STALE_LEASE", 409);
  assert.equal((await completeWith(sql, second, "take_effect", { by: "bob" })).outcome, "completed");
  await assertRejected(completeWith(sql, first, "take_effect", { by: "ada" }), "SM_STALE_LEASE", 409);
  assert.deepEqual(await effects(project().sql), [{ by: "bob" }]);
});

test("complete_with · a lease that expired but was not taken over still completes", async () => {
  const { sql } = project();
  const delivery = await dispatchAndClaim(sql);
  await setClock(sql, "2 minutes");
  assert.equal((await completeWith(sql, delivery, "take_effect")).outcome, "completed");
});

test("race · the repetition waits for the first call's open transaction, then returns 'already'", async () => {
  await using first = session(project());
  await using again = session(project());
  const delivery = await dispatchAndClaim(project().sql);
  const pid = await waitLongForRows(again);
  await first`begin`;
  await completeWith(first, delivery, "take_effect", { call: 1 });
  const repeated = completeWith(again, delivery, "take_effect", { call: 2 });
  await untilPolling(project().sql, pid);
  await first`commit`;
  assert.deepEqual(await repeated, { outcome: "already" });
  assert.deepEqual(await effects(project().sql), [{ call: 1 }]);
});

test("race · if the first call's transaction rolls back, the repetition has the effect", async () => {
  await using first = session(project());
  await using again = session(project());
  const delivery = await dispatchAndClaim(project().sql);
  const pid = await waitLongForRows(again);
  await first`begin`;
  await completeWith(first, delivery, "take_effect", { call: 1 });
  const repeated = completeWith(again, delivery, "take_effect", { call: 2 });
  await untilPolling(project().sql, pid);
  await first`rollback`;
  assert.equal((await repeated).outcome, "completed");
  assert.deepEqual(await effects(project().sql), [{ call: 2 }]);
});

test("race · an expired lease is not taken over while its worker's effect is being committed", async () => {
  const { sql } = project();
  await using first = session(project());
  const delivery = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  await first`begin`;
  await completeWith(first, delivery, "take_effect", { by: "ada" });
  assert.deepEqual(await claim(sql, { worker: "bob" }), []);
  assert.equal((await callValue(sql, "messenger_tick")).rescued, 0);
  await first`commit`;
  assert.deepEqual(await claim(sql, { worker: "bob" }), []);
  assert.deepEqual(await effects(project().sql), [{ by: "ada" }]);
});

test("race · a worker that waits while its lease is taken over is stale, and has no effect", async () => {
  const { sql } = project();
  await using late = session(project());
  await using taker = session(project());
  const delivery = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  const pid = await waitLongForRows(late);
  await taker`begin`;
  const [taken] = await claim(taker, { worker: "bob" });
  const waiting = completeWith(late, delivery, "take_effect", { by: "ada" });
  waiting.catch(() => {});
  await untilPolling(sql, pid);
  assert.equal((await completeWith(taker, taken, "take_effect", { by: "bob" })).outcome, "completed");
  await taker`commit`;
  await assertRejected(waiting, "SM_STALE_LEASE", 409);
  assert.deepEqual(await effects(project().sql), [{ by: "bob" }]);
});

test("complete_with · an error of the function reaches the caller, undoes the effect and keeps the lease", async () => {
  const { sql } = project();
  const delivery = await dispatchAndClaim(sql);
  const error = await errorOf(completeWith(sql, delivery, "is_rejected", { order: 1 }));
  assert.deepEqual([error.code, error.message, error.hint], ["XS001", "out of stock", "order some"]);
  await assertUntouched(project().sql, delivery);
  assert.equal((await completeWith(sql, delivery, "take_effect")).outcome, "completed");
});

test("complete_with · a function that settles the message otherwise is rolled back", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create or replace function public.meddle(args jsonb) returns jsonb language plpgsql
      set search_path = pg_catalog, pg_temp as $$
    begin
      insert into public.effects (args) values (args);
      perform public.messenger_release((args ->> 'id')::uuid, (args ->> 'fence')::bigint);
      return '{}';
    end $$`);
  const { id, fence } = await dispatchAndClaim(sql);
  await assertRejected(completeWith(sql, { id, fence }, "meddle", { id, fence }), "SM_STALE_LEASE", 409);
  await assertUntouched(project().sql, { id, fence });
});

test("complete_with · is callable with supabase.rpc, with its codes as HTTP statuses", async () => {
  const { sql, url, secretKey } = project();
  const rpc = async (args: Record<string, unknown>) => {
    const response = await fetch(`${url}/rest/v1/rpc/messenger_complete_with`, {
      method: "POST",
      headers: { apikey: secretKey, "content-type": "application/json" },
      body: JSON.stringify(args),
    });
    return { status: response.status, body: await response.json() };
  };
  const { id, fence } = await dispatchAndClaim(sql);
  const missing = await rpc({ id, fence, function_name: "missing" });
  assert.deepEqual([missing.status, missing.body.details], [404, "SM_NOT_FOUND"]);
  const raised = await rpc({ id, fence, function_name: "is_rejected" });
  assert.deepEqual([raised.body.code, raised.body.message], ["XS001", "out of stock"]);
  const done = await rpc({ id, fence, function_name: "take_effect", args: { order: 7 } });
  assert.deepEqual(done, { status: 200, body: { outcome: "completed", result: { got: { order: 7 } } } });
  const stale = await rpc({ id, fence: 9, function_name: "take_effect" });
  assert.deepEqual([stale.status, stale.body.details], [409, "SM_STALE_LEASE"]);
  assert.equal((await effects(project().sql)).length, 1);
});
