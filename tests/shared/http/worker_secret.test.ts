// The check of the worker secret: the frequency of its reads, the secrets accepted meanwhile, and failing reads.
import assert from "node:assert/strict";
import type { Database } from "../../../shared/db.ts";
import { SymphonyError } from "../../../shared/errors.ts";
import { sha256 } from "../../../shared/sha256.ts";
import { createWorkerSecret } from "../../../shared/http/worker_secret.ts";
import { VirtualClock } from "../virtual_clock.ts";

const DOWN = new SymphonyError("SM_UNAVAILABLE", "The database did not respond.");

/** Vault with one secret, a database that counts its reads, and a check with the time of the test. */
function secretStoreWith(secret: string) {
  const clock = new VirtualClock();
  const vault = {
    secrets: [secret],
    reads: 0,
    failure: undefined as SymphonyError | undefined,
    /** Awaited by each read before it returns. */
    held: Promise.resolve(),
  };
  const call = async (name: string) => {
    assert.equal(name, "messenger_worker_secret_digests");
    vault.reads++;
    const { failure } = vault;
    const digests = await Promise.all(vault.secrets.map(sha256));
    await vault.held;
    if (failure) throw failure;
    return digests;
  };
  const db = { call } as unknown as Database; // the check calls only one function
  return { clock, vault, check: createWorkerSecret(db, clock, undefined) };
}

const rejected = async (work: Promise<unknown>): Promise<SymphonyError> => {
  const error = await work.then(() => undefined, (error: unknown) => error);
  assert.ok(error instanceof SymphonyError, String(error));
  return error;
};

Deno.test("worker secret · a good one causes one read per minute", async () => {
  const { clock, vault, check } = secretStoreWith("good");
  for (let second = 0; second < 60; second++) {
    assert.equal(await check.matches("good"), true);
    await clock.pass(1_000);
  }
  assert.equal(vault.reads, 1);
  assert.equal(await check.matches("good"), true);
  assert.equal(vault.reads, 2);
});

Deno.test("worker secret · wrong ones cause at most one read per second, sequential and concurrent", async () => {
  const { clock, vault, check } = secretStoreWith("good");
  for (let tenth = 0; tenth < 100; tenth++) {
    const replies = await Promise.all([1, 2, 3].map((n) => check.matches(`wrong-${tenth}-${n}`)));
    assert.deepEqual(replies, [false, false, false]);
    await clock.pass(100);
  }
  assert.equal(vault.reads, 10);
  assert.equal(await check.matches("good"), true);
});

Deno.test("worker secret · calls that arrive during a read share it, however long it takes", async () => {
  const { clock, vault, check } = secretStoreWith("good");
  const reply = Promise.withResolvers<void>();
  vault.held = reply.promise;
  const replies = ["good", "wrong"].map((secret) => check.matches(secret));
  await clock.pass(5_000);
  replies.push(check.matches("good"), check.matches("another-wrong"));
  await clock.pass(5_000);
  reply.resolve();
  assert.deepEqual(await Promise.all(replies), [true, false, true, false]);
  assert.equal(vault.reads, 1);
});

Deno.test("worker secret · a new one is accepted a second after the last read, also among wrong ones", async () => {
  const { clock, vault, check } = secretStoreWith("old");
  assert.equal(await check.matches("old"), true);
  vault.secrets.push("new");
  await clock.pass(400);
  assert.equal(await check.matches("wrong"), false);
  await clock.pass(600);
  assert.equal(await check.matches("new"), true);
  assert.equal(await check.matches("old"), true, "during a rotation both are accepted");
  assert.equal(vault.reads, 2);
});

Deno.test("worker secret · a removed one is accepted for a minute at most", async () => {
  const { clock, vault, check } = secretStoreWith("old");
  assert.equal(await check.matches("old"), true);
  vault.secrets = ["new"];
  await clock.pass(59_999);
  assert.equal(await check.matches("old"), true);
  await clock.pass(1);
  assert.equal(await check.matches("old"), false);
  vault.secrets = [];
  await clock.pass(60_000);
  assert.equal(await check.matches("new"), false);
});

Deno.test("worker secret · while reads fail a cached one is accepted for its minute, then calls are 503", async () => {
  const { clock, vault, check } = secretStoreWith("good");
  assert.equal(await check.matches("good"), true);
  vault.failure = DOWN;
  await clock.pass(1_000);
  assert.equal((await rejected(check.matches("wrong"))).code, "SM_UNAVAILABLE");
  assert.equal(await check.matches("good"), true);
  await clock.pass(59_000);
  assert.equal((await rejected(check.matches("good"))).status, 503);
  vault.failure = undefined;
  await clock.pass(1_000);
  assert.equal(await check.matches("good"), true);
});

Deno.test("worker secret · failing reads also happen at most once per second", async () => {
  const { clock, vault, check } = secretStoreWith("good");
  vault.failure = DOWN;
  for (let tenth = 0; tenth < 50; tenth++) {
    const errors = await Promise.all([1, 2].map((n) => rejected(check.matches(`any-${n}`))));
    assert.deepEqual(errors.map(({ code }) => code), ["SM_UNAVAILABLE", "SM_UNAVAILABLE"]);
    await clock.pass(100);
  }
  assert.equal(vault.reads, 5);
});

Deno.test("worker secret · a rejected key of the function itself is not the caller's fault", async () => {
  const { vault, check } = secretStoreWith("good");
  vault.failure = new SymphonyError("SM_UNAUTHENTICATED", "Invalid API key");
  const error = await rejected(check.matches("good"));
  assert.deepEqual([error.code, error.cause], ["SM_UNAVAILABLE", vault.failure]);
  assert.doesNotMatch(error.message, /key/);
});

Deno.test("worker secret · the environment's is compared without the database", async () => {
  const db = { call: () => assert.fail("the database was called") } as unknown as Database;
  const check = createWorkerSecret(db, new VirtualClock(), "configured-worker-secret");
  assert.deepEqual(
    [await check.matches("configured-worker-secret"), await check.matches("configured-worker-secre")],
    [true, false],
  );
});
