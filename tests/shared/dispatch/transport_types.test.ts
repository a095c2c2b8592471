// The types of transports: how long one read of them is used, and which calls wait for the next.
import assert from "node:assert/strict";
import type { Database } from "../../../shared/db.ts";
import { SymphonyError } from "../../../shared/errors.ts";
import { createTransportTypes } from "../../../shared/dispatch/transport_types.ts";
import { VirtualClock } from "../virtual_clock.ts";
import { noDatabase } from "../worker/test_runtime.ts";

/** The transport `a`, whose type depends on the read: first supabase, then sync. */
function reading() {
  const clock = new VirtualClock();
  const state = { reads: 0, failing: false };
  const read = () => {
    const type = ++state.reads === 1 ? "supabase" : "sync";
    return state.failing
      ? Promise.reject(new SymphonyError("SM_UNAVAILABLE", "away"))
      : Promise.resolve([{ name: "a", type }]);
  };
  const db = { ...noDatabase, read } as unknown as Database; // only one table is read
  return { clock, state, types: createTransportTypes(db, clock) };
}

const aMoment = () => new Promise((resolve) => setTimeout(resolve)); // for a concurrent read

Deno.test("transport types · one read is used for ten seconds, then the next runs beside a call", async () => {
  const { clock, state, types } = reading();
  assert.deepEqual([await types.typeOf("a"), await types.typeOf("a")], ["supabase", "supabase"]);
  await clock.pass(10_000);
  assert.equal(await types.typeOf("a"), "supabase");
  assert.equal(state.reads, 1);
  await clock.pass(1);
  assert.equal(await types.typeOf("a"), "supabase", "the old one is used meanwhile");
  await aMoment();
  assert.deepEqual([await types.typeOf("a"), state.reads], ["sync", 2]);
});

Deno.test("transport types · after a minute a call waits for the read", async () => {
  const { clock, types } = reading();
  await types.typeOf("a");
  await clock.pass(60_001);
  assert.equal(await types.typeOf("a"), "sync");
});

Deno.test("transport types · while the database is unavailable the old one is used for a minute", async () => {
  const { clock, state, types } = reading();
  await types.typeOf("a");
  state.failing = true;
  await clock.pass(60_000);
  assert.equal(await types.typeOf("a"), "supabase");
  await aMoment();
  await clock.pass(1);
  await assert.rejects(types.typeOf("a"), { code: "SM_UNAVAILABLE" });
});

Deno.test("transport types · an unknown name is read with each call, concurrent calls share a read", async () => {
  const { state, types } = reading();
  assert.deepEqual(await Promise.all(["b", "b"].map((name) => types.typeOf(name))), [undefined, undefined]);
  assert.equal(state.reads, 1);
  await types.typeOf("b");
  assert.equal(state.reads, 2);
});
