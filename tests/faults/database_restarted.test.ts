// F4: immediate stops of Postgres during work. Acknowledged messages stay; producers and worker reconnect.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { test, useProject } from "../project.ts";
import { Harness } from "./harness.ts";

const harness: Harness = new Harness(() => project());
// Commits must reach the disk; otherwise an immediate stop may lose acknowledged ones.
const project = useProject({
  functions: true,
  clock: true,
  durable: true,
  log: harness.log,
  // A message whose claim lost its reply is handed out again only when its lease has expired.
  env: { SYMPHONY_WORKER_LEASE: "5000" },
});

const PRODUCERS = 4;
const MESSAGES_EACH = 40;
const STOPS = 3;

test("database restarted · three immediate stops during work: no acknowledged message is lost", async () => {
  let stops = 0;
  // Sends until after the last stop, since a fast machine would otherwise finish before it; the pace suits a slow
  // machine.
  const producing = Promise.all(Array.from({ length: PRODUCERS }, async () => {
    for (let n = 0; n < MESSAGES_EACH || stops < STOPS; n++) {
      await harness.produce({ type: "ExampleSlow", payload: { ms: 50 } });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }));
  for (let stop = 1; stop <= STOPS; stop++) {
    const enough = stop * (PRODUCERS * MESSAGES_EACH) / (STOPS + 1);
    await eventually("work is in flight", async () => {
      if (harness.acknowledged.size < enough) return false;
      const running = await project().sql`select from messenger_messages where status = 'processing' limit 1`;
      return running.length > 0;
    }, 60_000);
    await project().stopDatabase("immediate");
    await eventually("a producer received an error", async () => {
      const { url, secretKey } = project();
      const response = await fetch(`${url}/functions/v1/dispatch`, {
        method: "POST",
        headers: { "content-type": "application/json", apikey: secretKey },
        body: JSON.stringify({ message: { type: "ExampleQuick", payload: {} } }),
      });
      const { error } = await response.json();
      assert.deepEqual([response.status, error.code], [503, "SM_UNAVAILABLE"]);
      assert.ok(Number(response.headers.get("retry-after")) > 0);
      return true;
    });
    await project().startDatabase();
    stops = stop;
  }
  await producing;

  const figures = await harness.judge(`database stopped ${STOPS} times`, 90_000);
  harness.assertSound(figures);
  assert.ok(figures.acknowledged >= PRODUCERS * MESSAGES_EACH);
});

test("database restarted · the ticker resumes, and the next message is handled", async () => {
  const ticks = async () => Number((await project().sql`select ticks from messenger.clock`)[0].ticks);
  const before = await ticks();
  await eventually("the clock ticks", async () => await ticks() > before, 75_000);
  await harness.produce({ type: "ExampleQuick", payload: {} });
  harness.assertSound(await harness.judge("after the restarts"));
});
