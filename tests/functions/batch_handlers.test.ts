// A batch handler end to end: a real worker handles the messages of one claim together and settles each separately.
import assert from "node:assert/strict";
import { testLocally, useTarget } from "../target.ts";

const { target, project } = useTarget({ env: { SYMPHONY_WORKER_LINGER: "0" } });

testLocally("batch handler · the messages of one claim run together, and one of them fails alone", async () => {
  const messages = [11, 12, 13, 14].map((n) => ({ message: { type: "ExampleBatch", payload: { n } } }));
  const sent = await target().call("dispatch/batch", { json: { messages } });
  assert.equal(sent.status, 201, JSON.stringify(sent.body));
  const { body } = await target().call("worker?wait=1", { json: {} });
  const { claimed, completed, dead } = body.stats as Record<string, number>; // the documented reply
  assert.deepEqual({ claimed, completed, dead }, { claimed: 4, completed: 3, dead: 1 });
  const rows = await project().sql`select (body ->> 'n')::int as n, status, result from messenger_messages order by n`;
  assert.deepEqual(rows.map(({ n, status, result }) => [n, status, result?.together]), [
    [11, "completed", 4],
    [12, "completed", 4],
    [13, "failed", undefined],
    [14, "completed", 4],
  ]);
  const [deadLetter] = await project().sql`select error, error_class from messenger_failed_messages`;
  assert.deepEqual({ ...deadLetter }, { error: "13 is not handled here", error_class: "Unrecoverable" });
});

testLocally("batch handler · a message sent through the sync transport is a batch of one", async () => {
  const { body } = await target().call("dispatch", {
    json: { message: { type: "ExampleBatch", payload: { n: 1 } }, options: { transport: "sync" } },
  });
  assert.equal((body.result as { together: number }).together, 1, JSON.stringify(body));
});
