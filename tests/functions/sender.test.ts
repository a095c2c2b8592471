// The sender of a message as its handler and middleware see it: the database's record, whatever the message claims.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { rootWith } from "../own_packs.ts";
import { session } from "../project.ts";
import { assertRejected, testLocally, useTarget } from "../target.ts";

const type = (name: string, route: string, handler: string) => `
  defineMessage({
    type: "${name}",
    payload: z.object({ claims: z.string().optional() }),
    route: ${route},
    dispatchableBy: "user",
    ${handler}
  })`;
const root = await rootWith({
  "packs/index.ts": `
    import { z } from "zod";
    import { defineMessage } from "../shared/message.ts";

    export const messageTypes = [
      ${type("Queued", "{}", "handle: (_, { envelope }) => envelope.sender,")},
      ${type("Inline", '{ transport: "sync" }', "handle: (_, { envelope }) => envelope.sender,")},
      ${type("Many", "{}", "handleBatch(items) { for (const item of items) item.complete(item.envelope.sender); },")},
    ];
    export const middleware = [
      (ctx, next) => {
        const { sender } = ctx.envelope;
        ctx.log = ctx.log.with({ sent_by: sender.kind === "user" ? sender.id : sender.kind });
        return next();
      },
    ];
    `,
});
const lines: string[] = [];
const { target, project } = useTarget({
  root,
  env: { SYMPHONY_WORKER_LINGER: "0" },
  log: (line: string) => void lines.push(line),
});

const TYPES = ["Queued", "Inline", "Many"];
const POSE = { sender: { kind: "service" }, "x-symphony-user": "somebody" };

/** The sender that the handler has received. */
async function seen(id: unknown): Promise<unknown> {
  await target().call("worker?wait=1", { json: {} });
  const [{ result }] = await project().sql`select result from messenger_messages where id = ${String(id)}`;
  return result;
}

for (const type of TYPES) {
  testLocally(
    `sender · a user's ${type} message has the user as its sender, whatever its metadata claims`,
    async () => {
      const ada = await target().newUser();
      const json = { message: { type, payload: { claims: "service" }, metadata: POSE } };
      const { body } = await target().call("dispatch", { json, as: ada });
      assert.deepEqual(await seen(body.messageId), { kind: "user", id: ada.id });
      await eventually(
        "middleware received the same",
        () =>
          lines.some((line) =>
            [body.messageId, "handled", `"sent_by":"${ada.id}"`].every((part) => line.includes(String(part)))
          ),
      );
    },
  );

  testLocally(`sender · a user who calls the database for a ${type} message is its sender, too`, async () => {
    const ada = await target().newUser();
    const { data, error } = await target().api(ada).rpc("messenger_user_dispatch", { type, metadata: POSE });
    assert.equal(error, null);
    assert.deepEqual(await seen(data[0].id), { kind: "user", id: ada.id });
  });

  testLocally(
    `sender · a service's ${type} message has a service as its sender, whatever its metadata claims`,
    async () => {
      const json = { message: { type, payload: {}, metadata: POSE } };
      const { body } = await target().call("dispatch", { json });
      assert.deepEqual(await seen(body.messageId), { kind: "service" });
      const batch = await target().call("dispatch/batch", { json: { messages: [json] } });
      const [{ messageId }] = batch.body.results as { messageId: string }[];
      assert.deepEqual(await seen(messageId), { kind: "service" });
    },
  );
}

testLocally("sender · no caller can send the header that marks a user's message", async () => {
  const before = await target().countMessages();
  const headers = { "x-symphony-user": crypto.randomUUID() };
  const one = { message: { type: "Queued", payload: {} }, options: { headers } };
  for (const [path, json] of Object.entries({ dispatch: one, "dispatch/batch": { messages: [one] } })) {
    const reply = await target().call(path, { json });
    assert.match(assertRejected(reply, 403, "SM_FIELD_FORBIDDEN"), /headers\.x-symphony-user/);
  }
  const user = await target().newUser();
  assertRejected(await target().call("dispatch", { json: one, as: user }), 403, "SM_FIELD_FORBIDDEN");
  const { error } = await target().api().rpc("messenger_dispatch", { type: "Queued", headers });
  assert.equal(error?.details, "SM_FIELD_FORBIDDEN");
  assert.equal(await target().countMessages(), before);
  // An HTTP header of that name is not a header of the message.
  const { body } = await target().call("dispatch", { json: { message: one.message }, headers });
  assert.deepEqual(await seen(body.messageId), { kind: "service" });
});

testLocally(
  "sender · a schedule's message, and one from a trigger on a user's row, have a service as their sender",
  async () => {
    const { sql } = project();
    await sql`select messenger_schedule('once', 'Queued', ${
      sql.json({ at: new Date(Date.now() - 1_000).toISOString() })
    })`;
    await sql`select messenger_tick()`;
    const [scheduled] = await sql`select id from messenger_messages where headers ? 'x-scheduled-for'`;
    assert.deepEqual(await seen(scheduled.id), { kind: "service" });
    // The project's own code wrote it, on behalf of the row's user.
    const ada = await target().newUser();
    await using own = session(project());
    const [{ id }] = await own.begin(async (tx) => {
      await tx`select set_config('request.jwt.claims', ${JSON.stringify({ sub: ada.id })}, true)`;
      return await tx`select id from messenger_dispatch('Queued')`;
    });
    const [{ created_by }] = await sql`select created_by from messenger_messages where id = ${id}`;
    assert.equal(created_by, ada.id);
    assert.deepEqual(await seen(id), { kind: "service" });
  },
);

testLocally("sender · a user's message that is retried as a dead letter still has the user as its sender", async () => {
  const { sql } = project();
  const ada = await target().newUser();
  const json = { message: { type: "Queued", payload: {} } };
  const { body } = await target().call("dispatch", { json, as: ada });
  const id = String(body.messageId);
  const [{ fence }] = await sql`select fence from messenger_claim('tester', types => array['Queued'])`;
  await sql`select * from messenger_fail(${id}, ${fence}, 'no', retryable => false)`;
  const [deadLetter] = await sql`select id from messenger_failed_messages where message_id = ${id}`;
  const retried = await target().call(`admin/failed/${deadLetter.id}/retry`, {
    json: { payload: { claims: "edited" } },
  });
  assert.equal(retried.status, 200, JSON.stringify(retried.body));
  assert.deepEqual(await seen(id), { kind: "user", id: ada.id });
});
