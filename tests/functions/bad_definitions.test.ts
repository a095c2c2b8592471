// A pack with a bad definition in the real edge functions: only the type of that definition is left out.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { rootWith } from "../own_packs.ts";
import { testLocally, useTarget } from "../target.ts";

const root = await rootWith({
  "packs/index.ts": `
    import { z } from "zod";
    import { defineMessage } from "../shared/message.ts";

    const payload = z.object({}).loose();
    export const messageTypes = [
      defineMessage({ type: "Bad", payload, route: { queue: "Bad Queue", priority: 11 }, handle: () => "bad" }),
      defineMessage({
        type: "Good",
        payload,
        route: { queue: "good", priority: 8 },
        retry: { maxRetries: 1 },
        handle: () => "good",
      }),
      defineMessage({ type: "Renamed", aliases: ["Good"], payload, handle: () => "renamed" }),
    ];
    export const middleware = [];
    `,
});
const lines: string[] = [];
const { target, project } = useTarget({
  root,
  env: { SYMPHONY_WORKER_LINGER: "0" },
  log: (line: string) => void lines.push(line),
});

async function send(type: string) {
  const { status, body } = await target().call("dispatch", { json: { message: { type, payload: {} } } });
  assert.equal(status, 201, JSON.stringify(body));
  const [row] = await project().sql`select * from messenger_messages where id = ${String(body.messageId)}`;
  return row;
}

testLocally(
  "bad definitions · other types, with code and without, are dispatched as usual",
  async () => {
    const good = await send("Good");
    assert.deepEqual([good.queue_name, good.priority, good.max_retries], ["good", 8, 1]);
    const other = await send("WithoutCode");
    assert.deepEqual([other.queue_name, other.priority, other.max_retries], ["default", 5, 3]);
    await target().call("worker?wait=1", { json: {} });
    const [handled] = await project().sql`select status, result from messenger_messages where id = ${good.id}`;
    assert.deepEqual({ ...handled }, { status: "completed", result: "good" });
  },
);

testLocally(
  "bad definitions · messages of the bad type are kept until it is fixed, and the log names type and field",
  async () => {
    const bad = await send("Bad");
    await target().call("worker?wait=1", { json: {} });
    const [kept] = await project().sql`select status, fence, unrouted from messenger_messages where id = ${bad.id}`;
    assert.deepEqual({ ...kept }, { status: "pending", fence: "0", unrouted: ["queue", "priority", "max_retries"] });
    const types = await project().sql`select type from messenger.message_types where type not like 'symphony.%'`;
    assert.deepEqual(types.map(({ type }) => type), ["Good"]);
    for (const [type, field] of [["Bad", "route.queue"], ["Bad", "route.priority"], ["Renamed", "aliases.0"]]) {
      await eventually(
        `the log names ${type} ${field}`,
        () =>
          lines.some((line) =>
            ["message type rejected", `"${type}"`, `"${field}"`].every((part) => line.includes(part))
          ),
      );
    }
  },
);
