// Registration of an isolate's message types: once if it succeeds, again if it fails.
import assert from "node:assert/strict";
import { z } from "zod";
import { SymphonyError } from "../../shared/errors.ts";
import { createLog } from "../../shared/log.ts";
import { createRegistry, defineMessage } from "../../shared/message.ts";
import { createRegistration } from "../../shared/registration.ts";
import { scriptedDatabase } from "./worker/test_runtime.ts";

const registry = createRegistry([
  defineMessage({ type: "Note", payload: z.object({}), handle: () => {} }),
  defineMessage({ type: "Once", payload: z.object({}), retry: { maxRetries: 0, delay: 5 }, handle: () => {} }),
]);
const log = createLog({}, () => {});

Deno.test("registration · a failed one is repeated, a successful one is not", async () => {
  const replies = [new SymphonyError("SM_UNAVAILABLE", "away"), []];
  const { db, calls } = scriptedDatabase(() => {
    const reply = replies.shift();
    if (reply instanceof Error) throw reply;
    return reply;
  });
  const register = createRegistration(db, registry, log);
  await assert.rejects(register(), { code: "SM_UNAVAILABLE" });
  await register();
  await register();
  assert.deepEqual(calls.map(({ name }) => name), ["messenger_register", "messenger_register"]);
});

Deno.test("registration · concurrent callers share one call", async () => {
  const { db, calls } = scriptedDatabase();
  const register = createRegistration(db, registry, log);
  await Promise.all([register(), register()]);
  assert.equal(calls.length, 1);
});

Deno.test("registration · types get the environment's retry policy for each field that they omit", async () => {
  const { db, calls } = scriptedDatabase();
  await createRegistration(db, registry, log, { maxRetries: 7, delay: 80, multiplier: 9, maxDelay: 10_000 })();
  const [{ args }] = calls;
  assert.deepEqual((args.types as { type: string; retry: unknown }[]).map(({ type, retry }) => [type, retry]), [
    ["Note", { max_retries: 7, delay_ms: 80, multiplier: 9, max_delay_ms: 10_000, jitter: 0.2 }],
    ["Once", { max_retries: 0, delay_ms: 5, multiplier: 9, max_delay_ms: 10_000, jitter: 0.2 }],
  ]);
});

Deno.test("registration · by default a type is retried 3 times, after 1 s, doubling up to 10 minutes", async () => {
  const { db, calls } = scriptedDatabase();
  await createRegistration(db, registry, log, { maxRetries: undefined })();
  const [note] = calls[0].args.types as { retry: unknown }[];
  assert.deepEqual(note.retry, { max_retries: 3, delay_ms: 1_000, multiplier: 2, max_delay_ms: 600_000, jitter: 0.2 });
});

Deno.test("registration · a type that the database rejects is logged by name, the others are registered", async () => {
  const lines: string[] = [];
  const registered: string[] = [];
  const { db } = scriptedDatabase((_name, { types }) => {
    const names = (types as { type: string }[]).map(({ type }) => type);
    if (names.includes("Note")) throw new SymphonyError("SM_QUEUE", "Note: queue must be a name");
    registered.push(...names);
    return names.length;
  });
  const register = createRegistration(db, registry, createLog({}, (line) => lines.push(line)));
  await register();
  await register();
  assert.deepEqual(registered, ["Once"]);
  const [rejected, ...others] = lines.filter((line) => line.includes("message type rejected"));
  assert.match(rejected, /"type":"Note".*SM_QUEUE.*Note: queue must be a name/);
  assert.equal(others.length, 0);
});

Deno.test("registration · if the only type is rejected, the call still succeeds", async () => {
  const only = createRegistry([defineMessage({ type: "Note", payload: z.object({}), handle: () => {} })]);
  const { db } = scriptedDatabase(() => {
    throw new SymphonyError("SM_PRIORITY", "Note: priority must be from 1 to 10");
  });
  await createRegistration(db, only, log)();
});

Deno.test("registration · an obstacle for all types is no fault of one: the registration is repeated", async () => {
  const replies = Array.from({ length: 3 }, () => new SymphonyError("SM_INTERNAL", "a trigger of the project"));
  const { db } = scriptedDatabase(() => {
    const error = replies.pop();
    if (error) throw error;
  });
  const register = createRegistration(db, registry, log);
  await assert.rejects(register(), { code: "SM_INTERNAL" });
  await register();
});

Deno.test("registration · a database that becomes unavailable between two types is called again", async () => {
  const replies: (Error | undefined)[] = [
    new SymphonyError("SM_QUEUE", "Note: queue"),
    undefined,
    new SymphonyError("SM_UNAVAILABLE", "away"),
  ];
  const { db, calls } = scriptedDatabase(() => {
    const error = replies.shift();
    if (error) throw error;
  });
  const register = createRegistration(db, registry, log);
  await assert.rejects(register(), { code: "SM_UNAVAILABLE" });
  await register();
  assert.equal(calls.length, 4);
});
