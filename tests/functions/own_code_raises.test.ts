// Errors that the project's own code raises inside a call are never reported as the caller's malformed request.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { assertRejected, type Call, testLocally, useTarget } from "../target.ts";

const lines: string[] = [];
const { target, project } = useTarget({ log: (line: string) => void lines.push(line) });

const SENTENCE = 'invalid input syntax for type uuid: "user_2abc"';
const NOTE = { message: { type: "TestNote", payload: {} } };
const HELLO = { message: { type: "ExampleUser", payload: { note: "hello" } } };

/** Runs with a trigger of the project on the table of messages that raises `code`. */
async function withTrigger(code: string, body: () => Promise<void>): Promise<void> {
  const { sql } = project();
  await sql.unsafe(`
    create or replace function public.own_trigger() returns trigger language plpgsql as $$
    begin
      raise exception using errcode = '${code}', message = '${SENTENCE}';
    end $$;
    create or replace trigger own_trigger before insert or update on public.messenger_messages
    for each row execute function public.own_trigger()`);
  try {
    await body();
  } finally {
    await sql`drop trigger own_trigger on public.messenger_messages`;
  }
}

const WAYS: [what: string, path: string, call: (user: { token: string }) => Call][] = [
  ["a service", "dispatch", () => ({ json: NOTE })],
  ["a user", "dispatch", (as) => ({ json: HELLO, as })],
  ["a service, to the sync transport", "dispatch", () => ({ json: { ...NOTE, options: { transport: "sync" } } })],
  ["a batch", "dispatch/batch", () => ({ json: { messages: [NOTE, NOTE] } })],
  ["a batch that is not atomic", "dispatch/batch", () => ({ json: { messages: [NOTE, NOTE], atomic: false } })],
];

for (
  const code of ["22P02", "22P05", "22003", "22007", "22015", "54000", "54001", "42P01", "P0001", "PT422", "23514"]
) {
  testLocally(`own code · a trigger that raises ${code} is not reported as the caller's mistake`, async () => {
    const user = await target().newUser();
    const before = await target().countMessages();
    await withTrigger(code, async () => {
      for (const [what, path, call] of WAYS) {
        const reply = await target().call(path, call(user));
        const sentence = assertRejected(reply, 500, "SM_INTERNAL");
        assert.match(sentence, /for a reason inside the project/, what);
        assert.ok(!JSON.stringify(reply.body).includes("user_2abc"), what);
        const requestId = String(reply.headers.get("x-request-id"));
        await eventually(
          "the log has the reason with the request id",
          () => lines.some((line) => [requestId, code, "user_2abc"].every((part) => line.includes(part))),
        );
      }
    });
    assert.equal(await target().countMessages(), before);
  });
}

for (const code of ["40001", "40P01", "55P03", "57014", "53100"]) {
  testLocally(`own code · a trigger that raises ${code} makes the call repeatable`, async () => {
    const user = await target().newUser();
    const before = await target().countMessages();
    await withTrigger(code, async () => {
      for (const [what, path, call] of WAYS) {
        const reply = await target().call(path, call(user));
        assertRejected(reply, 503, "SM_UNAVAILABLE");
        assert.equal(reply.headers.get("retry-after"), "1", what);
      }
    });
    assert.equal(await target().countMessages(), before);
  });
}

testLocally(
  "own code · a trigger that breaks an operator's call is not reported as the operator's mistake",
  async () => {
    const { body } = await target().call("dispatch", { json: { ...NOTE, options: { delay: 60_000 } } });
    await withTrigger("22P02", async () => {
      const cancel = await target().call(`admin/messages/${body.messageId}/cancel`, { method: "POST" });
      assertRejected(cancel, 500, "SM_INTERNAL");
    });
  },
);

testLocally("own code · a user of another identity provider, whose id is no UUID, owns no messages", async () => {
  const as = { token: await project().signUser({ sub: "user_2abcDEF" }) };
  const { body } = await target().call("dispatch", { json: NOTE });
  assertRejected(await target().call(`dispatch/${body.messageId}`, { as }), 404, "SM_NOT_FOUND");
  const sentence = assertRejected(await target().call("dispatch", { json: HELLO, as }), 401, "SM_UNAUTHENTICATED");
  assert.match(sentence, /subject/);
});
