// Numbers that a double cannot represent, dispatched in SQL, as handlers, senders and operators receive them.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { rootWith } from "../own_packs.ts";
import { testLocally, useTarget } from "../target.ts";

const root = await rootWith({
  "packs/index.ts": `
    import { z } from "zod";
    import { defineMessage } from "../shared/message.ts";

    const seen = (payload: unknown) => ({ seen: JSON.stringify(payload) });
    export const messageTypes = [
      defineMessage({ type: "Loose", payload: z.object({}).loose(), handle: seen }),
      defineMessage({ type: "Text", payload: z.object({ user: z.string() }), handle: seen }),
      defineMessage({
        type: "Bigint",
        payload: z.object({ user: z.coerce.bigint() }),
        handle: ({ user }) => String(user + 1n),
      }),
      defineMessage({ type: "Number", payload: z.object({ user: z.number() }), handle: seen }),
      defineMessage({ type: "Own", payload: z.object({}), handle: (_, ctx) => void ctx.completeWith("big.number") }),
    ];
    export const middleware = [];
    `,
});
const { target, project } = useTarget({ root, env: { SYMPHONY_WORKER_LINGER: "0" } });

const ID = "1145678901234567891";

async function handled(type: string, payload: string) {
  const [{ id }] = await project().sql`select id from messenger_dispatch(${type}, ${payload}::text::jsonb)`;
  await target().call("worker?wait=1", { json: {} });
  return await eventually("the message is finished", async () => {
    const [row] = await project()
      .sql`select id, status, result::text, last_error, error_class from messenger_messages where id = ${id}`;
    return row.status === "completed" || row.status === "failed" ? row : undefined;
  });
}

testLocally(
  "big numbers · a handler receives a bigint or a long numeric of SQL as a string, never rounded",
  async () => {
    const loose = await handled(
      "Loose",
      `{"user": ${ID}, "rate": 0.12345678901234567890, "n": 5, "deep": [{"x": -${ID}}]}`,
    );
    assert.deepEqual(JSON.parse(JSON.parse(loose.result).seen), {
      n: 5,
      rate: "0.12345678901234567890",
      user: ID,
      deep: [{ x: `-${ID}` }],
    });
    const text = await handled("Text", `{"user": ${ID}}`);
    assert.deepEqual(JSON.parse(text.result), { seen: `{"user":"${ID}"}` });
    assert.equal(JSON.parse((await handled("Bigint", `{"user": ${ID}}`)).result), "1145678901234567892");
  },
);

testLocally("big numbers · a schema that expects a number rejects it, with the reason and the remedy", async () => {
  const row = await handled("Number", `{"user": ${ID}}`);
  assert.deepEqual([row.status, row.error_class], ["failed", "InvalidPayload"]);
  assert.match(
    row.last_error,
    new RegExp(
      "user: .*expected number.* \\(a double cannot hold 1145678901234567891, " +
        "so it is delivered as a string: accept it with z\\.string\\(\\)\\)",
    ),
  );
  const small = await handled("Number", `{"user": 9007199254740992}`);
  assert.deepEqual(JSON.parse(small.result), { seen: '{"user":9007199254740992}' });
});

testLocally("big numbers · the sender and the monitor read stored numbers unrounded", async () => {
  const { sql } = project();
  await sql.unsafe(`create schema big; grant usage on schema big to service_role;
    create function big.number(args jsonb) returns jsonb language sql as $$ select '{"id": ${ID}}'::jsonb $$`);
  const { id, result } = await handled("Own", "{}");
  assert.equal(result, `{"id": ${ID}}`);
  const state = await target().call(`dispatch/${id}`);
  assert.deepEqual(state.body.result, { id: ID });
  const [sent] =
    await sql`select id from messenger_dispatch('Later', ${`{"user": ${ID}}`}::text::jsonb, delay => '1 day')`;
  const shown = await target().call(`monitor/messages/${sent.id}`);
  assert.equal(shown.status, 200);
  assert.match(JSON.stringify(shown.body), /"user":"1145678901234567891"/);
  const listed = await target().call("monitor/metrics?minutes=60");
  assert.equal(typeof listed.body.successRate, "number", JSON.stringify(listed.body));
});
