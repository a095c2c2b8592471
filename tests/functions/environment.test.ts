// The use of the environment by the edge functions: each starts in an isolate, with a script as its data API.
import assert from "node:assert/strict";
import type { ClaimRequest, Outcome } from "../../shared/delivery.ts";
import { openEdgeFunction, SECRET_KEY } from "./edge_function.ts";

/** Like Deno.test, but without leak checks, because fetch keeps its connections beyond the test. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `environment · ${name}`, fn, sanitizeResources: false, sanitizeOps: false });
}

type Stats = Record<string, number>;

test("a worker claims with the batch size, the concurrency and the lease of its environment", async () => {
  await using worker = await openEdgeFunction("worker", {
    env: {
      SYMPHONY_WORKER_BATCH_SIZE: "4",
      SYMPHONY_WORKER_MAX_CONCURRENCY: "5",
      SYMPHONY_WORKER_LEASE: "7000",
      SYMPHONY_WORKER_LINGER: "0",
    },
  });
  for (let n = 0; n < 4; n++) worker.receiver.add("ExampleSlow", { ms: 500 });
  const { status, body } = await worker.post("worker?wait=1", {});
  assert.deepEqual([status, (body.stats as Stats).completed], [200, 4], JSON.stringify(body));
  const claims = worker.calls.filter(({ name }) => name === "messenger_exchange").map(({ args }) => args);
  assert.deepEqual(claims.slice(0, 2).map(({ batch, lease }) => [batch, lease]), [
    [4, "7000 milliseconds"],
    [1, "7000 milliseconds"], // one of five slots is free
  ]);
});

test("a worker registers its types, with the retry policy of its environment, before a handler starts", async () => {
  let finishedBefore = -1;
  await using worker = await openEdgeFunction("worker", {
    env: {
      SYMPHONY_WORKER_LINGER: "0",
      SYMPHONY_RETRY_MAX_RETRIES: "7",
      SYMPHONY_RETRY_DELAY: "80",
      SYMPHONY_RETRY_MULTIPLIER: "1.5",
      SYMPHONY_RETRY_MAX_DELAY: "9000",
    },
    api: {
      async messenger_register() {
        await new Promise((resolve) => setTimeout(resolve, 300)); // longer than the concurrent claim and its handler
        finishedBefore = worker.receiver.settled.length;
      },
    },
  });
  worker.receiver.add("ExampleQuick");
  const { body } = await worker.post("worker?wait=1", {});
  assert.deepEqual([finishedBefore, (body.stats as Stats).completed], [0, 1]);
  const { args } = worker.calls.find(({ name }) => name === "messenger_register") ?? assert.fail("no registration");
  const types = args.types as { type: string; retry: unknown }[];
  assert.deepEqual(types.find(({ type }) => type === "ExampleQuick")?.retry, {
    max_retries: 7,
    delay_ms: 80,
    multiplier: 1.5,
    max_delay_ms: 9_000,
    jitter: 0.2,
  });
});

test("a dispatch follows the registration, and types without code get the environment's defaults", async () => {
  await using dispatch = await openEdgeFunction("dispatch", {
    env: {
      SYMPHONY_DEFAULT_TRANSPORT: "own",
      SYMPHONY_DEFAULT_QUEUE: "letters",
      SYMPHONY_DEFAULT_PRIORITY: "7",
      SYMPHONY_RETRY_MAX_RETRIES: "2",
    },
    api: { messenger_dispatch_batch: () => [{ ord: 1, id: crypto.randomUUID(), duplicate: false, error_code: "" }] },
  });
  for (const type of ["WithoutCode", "ExampleQuick"]) {
    const { status, body } = await dispatch.post("dispatch", { message: { type, payload: {} } });
    assert.equal(status, 201, JSON.stringify(body));
  }
  assert.deepEqual(dispatch.calls.map(({ name }) => name), [
    "messenger_register",
    "messenger_dispatch_batch",
    "messenger_dispatch_batch",
  ]);
  const stored = dispatch.calls.filter(({ name }) => name === "messenger_dispatch_batch")
    .flatMap(({ args }) => args.messages as Record<string, unknown>[]);
  assert.deepEqual(
    stored.map(({ transport, queue, priority, max_retries }) => [transport, queue, priority, max_retries]),
    [["own", "letters", 7, 2], [undefined, undefined, undefined, undefined]],
  );
});

test("a dispatch repeats the registration that failed when its isolate started", async () => {
  let registrations = 0;
  await using dispatch = await openEdgeFunction("dispatch", {
    env: {},
    api: {
      messenger_register: () =>
        ++registrations === 1 ? Response.json({ code: "PGRST000", message: "unavailable" }, { status: 503 }) : 1,
      messenger_dispatch_batch: () => [{ ord: 1, id: crypto.randomUUID(), duplicate: false, error_code: "" }],
    },
  });
  const send = () => dispatch.post("dispatch", { message: { type: "ExampleQuick", payload: {} } });
  const statuses = [await send(), await send()].map(({ status }) => status);
  assert.equal(statuses.at(-1), 201, `${statuses}`);
  assert.ok(registrations >= 2, `${registrations}`);
});

test("worker and scheduler accept a secret key, and their environment's secret, as bearer token", async () => {
  const secret = "configured-worker-secret";
  for (const [name, accepted] of [["worker", 202], ["scheduler", 200]] as const) {
    await using opened = await openEdgeFunction(name, {
      env: { SYMPHONY_WORKER_SECRET: secret, SYMPHONY_WORKER_LINGER: "0" },
    });
    const statusWith = async (token: string) =>
      (await opened.post(name, {}, { authorization: `Bearer ${token}` })).status;
    assert.deepEqual([await statusWith(SECRET_KEY), await statusWith(secret)], [accepted, accepted], name);
    assert.deepEqual([await statusWith(`${SECRET_KEY}x`), await statusWith(`${secret}x`)], [401, 401], name);
  }
});

test("a function with wrong variables does not start, and its log names each of them", async () => {
  await using worker = await openEdgeFunction("worker", {
    env: { SYMPHONY_WORKER_LEASE: "soon", SYMPHONY_RETRY_MULTIPLIER: "0" },
  });
  const { status, body } = await worker.post("worker", {});
  assert.deepEqual([status, body.code, worker.calls], [503, "BOOT_ERROR", []]);
  const log = worker.lines.join("\n");
  assert.match(log, /SYMPHONY_RETRY_MULTIPLIER must be a number from 1 to 100/);
  assert.match(log, /SYMPHONY_WORKER_LEASE must be a whole number from 1000 to 43200000/);
  assert.doesNotMatch(log, /soon/);
});

test("a worker that finds no message ends after 600 polls, and still serves every later call", async () => {
  let polls = 0;
  await using worker = await openEdgeFunction("worker", {
    entrypoint: "tests/functions/worker_without_pauses.ts",
    env: { SYMPHONY_WORKER_LINGER: "3600000", SYMPHONY_WORKER_POLL_INTERVAL: "10" },
    api: {
      messenger_exchange({ outcomes, ...request }) {
        if (++polls > 700) return Response.json({ message: "a rejected claim ends the run" }, { status: 400 });
        return worker.receiver.exchange(outcomes as Outcome[], request as unknown as ClaimRequest);
      },
    },
  });
  const first = (await worker.post("worker?wait=1", {})).body.stats as Stats;
  assert.deepEqual([first.polls, first.claimed], [600, 0]);
  worker.receiver.add("ExampleQuick");
  const second = (await worker.post("worker?wait=1", {})).body.stats as Stats;
  assert.equal(second.completed, 1);
  assert.ok(second.polls <= 3, `${second.polls} polls`);
});
