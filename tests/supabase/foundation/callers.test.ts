// Callers with tokens of other identity providers never break a project's own insert, and users cannot exceed their
// quota.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, deadLetterOf, dispatch, messageOf, settle } from "../bus.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject();
const ada: string = crypto.randomUUID();

Deno.test.beforeAll(async () => {
  const { sql } = project();
  await limitLockWaits(sql);
  await sql.unsafe(`
    create table public.orders (id bigint generated always as identity primary key, email text);
    create function public.order_placed() returns trigger language plpgsql security definer set search_path = '' as $$
    begin
      perform public.messenger_dispatch('OrderPlaced', jsonb_build_object('order', new.id));
      return new;
    end $$;
    create trigger order_placed after insert on public.orders for each row execute function public.order_placed();
    grant insert on public.orders to authenticated, anon`);
});
Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await sql`truncate public.orders`;
  await call(sql, "messenger_register", { types: [{ type: "Wish", dispatchable_by: "user" }] });
});

const wish = (args: Record<string, unknown> = {}, user = ada) =>
  asRole(
    project().sql,
    "authenticated",
    async (tx) => (await call(tx, "messenger_user_dispatch", { type: "Wish", ...args }))[0],
    user,
  );
const limit = (count: number) => project().sql`update messenger.settings set max_unfinished_per_user = ${count}`;

/** Claims as PostgREST sets them, and some that it never sets. */
const CLAIMS: [what: string, claims: string, owner: string | null][] = [
  ["a UUID", JSON.stringify({ sub: ada, role: "authenticated" }), ada],
  ["a name of Clerk's", '{"sub": "user_2abcDEF", "role": "authenticated"}', null],
  ["a name of Firebase's", '{"sub": "kJ8s0dFh2lPq9", "role": "authenticated"}', null],
  ["an empty string", '{"sub": "", "role": "authenticated"}', null],
  ["a number", '{"sub": 42, "role": "authenticated"}', null],
  ["null", '{"sub": null, "role": "authenticated"}', null],
  ["missing", '{"role": "anon"}', null],
  ["an object", '{"sub": {"id": 1}, "role": "authenticated"}', null],
  ["in claims that are not an object", '"text"', null],
  ["in claims that are not JSON", "{", null],
  ["in empty claims", "", null],
];
for (const [what, claims, owner] of CLAIMS) {
  test(`subject · ${what}: the project's own insert is stored, and its message with it`, async () => {
    const { sql } = project();
    await sql.begin(async (tx) => {
      await tx`select set_config('request.jwt.claims', ${claims}, true), set_config('role', 'authenticated', true)`;
      await tx`insert into public.orders (email) values ('a@example.com')`;
    });
    const rows = await sql`select created_by, headers from messenger_messages`;
    assert.deepEqual(rows.map((row) => [row.created_by, row.headers]), [[owner, {}]]);
    assert.equal((await sql`select from public.orders`).length, 1);
  });
}

test("subject · one that is no UUID cannot own messages, and the error names the reason", async () => {
  const message = await assertRejected(wish({}, "user_2abcDEF"), "SM_UNAUTHENTICATED", 401);
  assert.match(message, /not a UUID/);
  const error = await errorOf(wish({}, "user_2abcDEF"));
  assert.match(error.hint ?? "", /secret key/);
});

test("sender · a message that a user dispatched has the user as its sender, whatever its metadata claims", async () => {
  const { sql } = project();
  const { id } = await wish({
    metadata: { "x-symphony-user": "somebody", sender: "service" },
    headers: { "x-request-id": "r" },
  });
  assert.deepEqual((await messageOf(sql, id)).headers, { "x-request-id": "r", "x-symphony-user": ada });
});

test("sender · a service's dispatch has no user as its sender, not even in a user's transaction", async () => {
  const { sql } = project();
  await asRole(sql, "authenticated", (tx) => tx`insert into public.orders (email) values ('x')`, ada);
  const [{ headers, created_by }] = await sql`select headers, created_by from messenger_messages`;
  assert.deepEqual([headers, created_by], [{}, ada]);
});

test("sender · no caller can set that header: service, user, batch, schedule", async () => {
  const { sql } = project();
  const headers = { "x-symphony-user": ada };
  for (
    const work of [
      () => dispatch(sql, { headers }),
      () => dispatch(sql, { headers, ordering_key: "k" }),
      () => wish({ headers }),
      () => call(sql, "messenger_dispatch_batch", { messages: [{ type: "A", headers }] }),
    ]
  ) {
    const message = await assertRejected(work(), "SM_FIELD_FORBIDDEN", 403);
    assert.match(message, /x-symphony-user/);
  }
  const schedule = { name: "s", type: "A", schedule: { interval: 1000 }, options: { headers } };
  await assertRejected(call(sql, "messenger_schedule", schedule), "SM_FIELD_FORBIDDEN", 403);
  assert.equal((await sql`select from messenger_messages`).length, 0);
});

test("quota · unfinished messages and open dead letters count together; finished or resolved ones do not", async () => {
  const { sql } = project();
  await limit(2);
  await sql`update messenger.message_types set max_retries = 0 where type = 'Wish'`;
  const dead = await wish();
  const [row] = await claim(sql);
  await settle(sql, [{ id: row.id, fence: row.fence, outcome: "failed", error: "no" }]);
  assert.equal((await deadLetterOf(sql, dead.id)).created_by, ada);
  const waiting = await wish();
  const message = await assertRejected(wish(), "SM_RATE", 429);
  assert.match(message, /dead letters/);
  assert.equal(await callValue(sql, "messenger_cancel", { id: waiting.id }), "cancelled");
  await wish();
  await assertRejected(wish(), "SM_RATE", 429);
  await call(sql, "messenger_discard_failed", { filter: {} });
  await wish();
  await assertRejected(wish(), "SM_RATE", 429);
  assert.equal((await wish({}, crypto.randomUUID())).status, "pending", "another user has a separate quota");
});

test("quota · of two concurrent calls the second counts the first one's messages", async () => {
  const { sql } = project();
  await limit(1);
  await using first = session(project());
  await using second = session(project());
  const as = async (sql: typeof first) => {
    await sql.unsafe("begin");
    await sql`select set_config('request.jwt.claims', ${
      JSON.stringify({ sub: ada, role: "authenticated" })
    }, true), set_config('role', 'authenticated', true)`;
  };
  await as(first);
  await call(first, "messenger_user_dispatch", { type: "Wish" });
  const pid = await pidOf(second);
  await as(second);
  const waiting = assertRejected(call(second, "messenger_user_dispatch", { type: "Wish" }), "SM_RATE", 429);
  await untilBlocked(sql, pid);
  await first.unsafe("commit");
  await waiting;
  await second.unsafe("rollback");
  assert.equal((await sql`select from messenger_messages`).length, 1);
});

test("quota · a first call that rolls back frees its place for the second, and other users never wait", async () => {
  await limit(1);
  await using first = session(project());
  await first.unsafe("begin");
  await first`select set_config('request.jwt.claims', ${
    JSON.stringify({ sub: ada, role: "authenticated" })
  }, true), set_config('role', 'authenticated', true)`;
  await call(first, "messenger_user_dispatch", { type: "Wish" });
  await wish({}, crypto.randomUUID());
  await first.unsafe("rollback");
  await wish();
});

test("quota · rows of users with a recent dispatch are pruned an hour later", async () => {
  const { sql } = project();
  await wish();
  await sql`select messenger.prune_senders(messenger.now() + interval '59 minutes', 100)`;
  assert.equal((await sql`select from messenger.senders`).length, 1);
  await sql`select messenger.prune_senders(messenger.now() + interval '61 minutes', 100)`;
  assert.equal((await sql`select from messenger.senders`).length, 0);
});
