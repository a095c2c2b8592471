// Work after the reply: the edge runtime waits for it, and its failure ends nothing.
import assert from "node:assert/strict";
import { keepAlive } from "../../shared/background.ts";
import { keptAlive } from "./edge_runtime.ts";

Deno.test("background · the edge runtime waits until the work is done", async () => {
  const work = Promise.withResolvers<void>();
  const [kept, ...more] = await keptAlive(() => keepAlive(work.promise));
  assert.equal(more.length, 0);
  let isDone = false;
  kept.then(() => isDone = true);
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(isDone, false);
  work.resolve();
  await kept;
});

Deno.test("background · failing work causes no unhandled rejection, neither here nor in the edge runtime", async () => {
  const [kept] = await keptAlive(() => keepAlive(Promise.reject(new Error("no"))));
  assert.equal(await kept, undefined);
  keepAlive(Promise.reject(new Error("no")));
  await new Promise((resolve) => setTimeout(resolve));
});
