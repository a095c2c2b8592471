// Definitions of message types: every fault is named by type and field, and costs nothing but its own type.
import assert from "node:assert/strict";
import { z } from "zod";
import { createRegistry, defineMessage, type MessageType } from "../../shared/message.ts";

const payload = z.object({});
const good = defineMessage({ type: "Good", payload, aliases: ["Fine"], handle: () => {} });
/** A definition as code without types could write it. */
const odd = (fields: Record<string, unknown>) => ({ type: "Bad", payload, handle: () => {}, ...fields }) as never;

const FAULTS: [fields: Record<string, unknown>, field: string, message: RegExp][] = [
  [{ type: "" }, "type", /^A message type without a name: type must be a letter, then up to 127/],
  [{ type: undefined }, "type", /^A message type without a name: type must be/],
  [{ type: "Two words" }, "type", /^Two words: type must be a letter, .*not "Two words"/],
  [{ type: "a".repeat(129) }, "type", /: type must be a letter/],
  [{ type: 5 }, "type", /: type must be/],
  [{ aliases: ["a b"] }, "aliases.0", /^Bad: aliases\.0 must be a letter, .*not "a b"/],
  [{ aliases: "Old" }, "aliases", /^Bad: aliases must be an array/],
  [{ payload: undefined }, "payload", /^Bad: payload must be a zod schema/],
  [{ payload: {} }, "payload", /^Bad: payload must be a zod schema/],
  [{ route: { queue: "A b" } }, "route.queue", /^Bad: route\.queue must be 1 to 63 lower-case .*not "A b"/],
  [{ route: { queue: "" } }, "route.queue", /^Bad: route\.queue must/],
  [{ route: { transport: "A" } }, "route.transport", /^Bad: route\.transport must/],
  [{ route: { priority: 0 } }, "route.priority", /^Bad: route\.priority must be at least 1, not 0/],
  [{ route: { priority: 11 } }, "route.priority", /^Bad: route\.priority must be at most 10, not 11/],
  [{ route: { priority: 5.5 } }, "route.priority", /^Bad: route\.priority must be a whole number/],
  [{ route: { priority: "5" } }, "route.priority", /^Bad: route\.priority must be .*number/],
  [{ route: { prioritty: 5 } }, "route", /^Bad: Unknown field: route\.prioritty/],
  [{ retry: { maxRetries: 101 } }, "retry.maxRetries", /^Bad: retry\.maxRetries must be at most 100/],
  [{ retry: { maxRetries: -1 } }, "retry.maxRetries", /^Bad: retry\.maxRetries must be at least 0/],
  [{ retry: { maxRetries: NaN } }, "retry.maxRetries", /^Bad: retry\.maxRetries must/],
  [{ retry: { delay: -1 } }, "retry.delay", /^Bad: retry\.delay must be at least 0/],
  [{ retry: { delay: 0.5 } }, "retry.delay", /^Bad: retry\.delay must be a whole number/],
  [{ retry: { delay: Infinity } }, "retry.delay", /^Bad: retry\.delay must/],
  [{ retry: { multiplier: 0.5 } }, "retry.multiplier", /^Bad: retry\.multiplier must be at least 1, not 0\.5/],
  [{ retry: { multiplier: 101 } }, "retry.multiplier", /^Bad: retry\.multiplier must be at most 100/],
  [{ retry: { maxDelay: 86_400_000_001 } }, "retry.maxDelay", /^Bad: retry\.maxDelay must be at most 86400000000/],
  [{ retry: { jitter: 1.5 } }, "retry.jitter", /^Bad: retry\.jitter must be at most 1, not 1\.5/],
  [{ retry: { backoff: 2 } }, "retry", /^Bad: Unknown field: retry\.backoff/],
  [{ timeout: 0 }, "timeout", /^Bad: timeout must be at least 1/],
  [{ timeout: 2_147_483_648 }, "timeout", /^Bad: timeout must be at most 2147483647/],
  [{ dispatchableBy: "anyone" }, "dispatchableBy", /^Bad: dispatchableBy must be one of service, user/],
  [{ handle: "run" }, "handle", /^Bad: handle must be a function/],
  [{ handle: undefined }, "handle", /^Bad needs one of handle and handleBatch/],
  [{ handleBatch: () => {} }, "handle", /^Bad needs one of handle and handleBatch/],
  [{ type: "Good" }, "type", /^Good: type: two message types are named Good, the other is Good/],
  [{ aliases: ["Fine"] }, "aliases.0", /^Bad: aliases\.0: two message types are named Fine, the other is Good/],
  [{ aliases: ["Old", "Old"] }, "aliases.1", /^Bad: aliases\.1: two message types are named Old, the other is Bad/],
  [{ aliases: ["Bad"] }, "aliases.0", /^Bad: aliases\.0: two message types are named Bad/],
];

for (const [fields, field, message] of FAULTS) {
  Deno.test(`definitions · ${JSON.stringify(fields).slice(0, 60)} is named by type and field`, () => {
    assert.throws(() => createRegistry([good, odd(fields)]), { message });
    const faults: { field: string }[] = [];
    createRegistry([good, odd(fields)], (fault) => faults.push(fault));
    assert.ok(faults.some((fault) => fault.field === field), JSON.stringify(faults));
  });
}

Deno.test("definitions · all faults of all definitions are named at once", () => {
  const bad = [
    odd({ route: { queue: "A", priority: 0 } }),
    good,
    odd({ type: "Worse", retry: { multiplier: 0 }, timeout: -1 }),
  ];
  assert.throws(() => createRegistry(bad), ({ message }: Error) => {
    const lines = message.split("\n");
    assert.deepEqual(lines.map((line) => line.split(" must")[0]), [
      "Bad: route.queue",
      "Bad: route.priority",
      "Worse: retry.multiplier",
      "Worse: timeout",
    ]);
    return true;
  });
});

Deno.test("definitions · what is at fault is left out, and the others work as without it", () => {
  const alone = createRegistry([good]);
  for (const [fields] of FAULTS) {
    // Of two that claim one name the first has it.
    const isClaim = fields.type === "Good" || String(fields.aliases) === "Fine";
    const lists: MessageType[][] = [[good, odd(fields)], ...(isClaim ? [] : [[odd(fields), good]])];
    for (const list of lists) {
      const registry = createRegistry(list, () => {});
      assert.deepEqual(
        [registry.types, registry.registration()],
        [alone.types, alone.registration()],
        JSON.stringify(fields),
      );
      assert.equal(registry.find("Good"), good);
      assert.equal(registry.find("Bad"), undefined);
    }
  }
});

Deno.test("definitions · a type's own name goes before an alias of another type, in whatever order they stand", () => {
  const renamed = odd({ type: "New", aliases: ["Good"] });
  for (const list of [[good, renamed], [renamed, good]]) {
    const registry = createRegistry(list, () => {});
    assert.equal(registry.find("Good"), good);
    assert.equal(registry.find("New"), undefined);
  }
});

Deno.test("definitions · the bounds themselves are sound", () => {
  createRegistry([
    defineMessage({
      type: `A${"a".repeat(127)}`,
      payload,
      route: { queue: "q".repeat(63), transport: "0-_", priority: 10 },
      retry: { maxRetries: 100, delay: 86_400_000_000, multiplier: 100, maxDelay: 86_400_000_000, jitter: 1 },
      timeout: 2_147_483_647,
      dispatchableBy: "user",
      handle: () => {},
    }),
    defineMessage({
      type: "b",
      payload,
      route: { priority: 1 },
      retry: { maxRetries: 0, delay: 0, multiplier: 1, maxDelay: 0, jitter: 0 },
      timeout: 1,
      handleBatch: () => {},
    }),
  ]);
});
