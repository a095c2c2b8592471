// ctx.completeWith end to end: workers are killed and replies are lost, and each completed message leaves exactly one
// row.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { rootWith } from "../own_packs.ts";
import { testLocally, useTarget } from "../target.ts";

const MESSAGES = 40;
const KILLS = 3;
const EVERY = 3; // one reply in this many is lost

const root = await rootWith({
  "packs/index.ts": `
    import { z } from "zod";
    import { defineMessage } from "../shared/message.ts";

    const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const ship = defineMessage({
      type: "Ship",
      payload: z.object({ order: z.int(), function: z.string().default("ship"), ms: z.int().default(20) }),
      retry: { maxRetries: 20, delay: 50 },
      async handle(payload, ctx) {
        await pause(payload.ms);
        const answer = await ctx.completeWith(payload.function, { order: payload.order });
        ctx.log.info("shipped", { answer: answer.outcome });
        await pause(payload.ms);
        throw new Error("an error after the completion has no effect");
      },
    });
    export const messageTypes = [ship];
    export const middleware = [];
    `,
});

type Held = PromiseWithResolvers<void> & { order: number; fence: number };

/**
 * Two calls of messenger_complete_with that a kill interrupts: one before it reaches the database, one after its
 * commit.
 */
interface Round {
  before?: Held;
  after?: Held;
}

let round: Round | undefined;
let calls = 0;
let lost = 0;
const seen = new Set<number>(); // orders whose first call has arrived

// The worker calls the API through this proxy: some calls are held until their worker was killed, some lose their
// reply.
const GONE = () => new Response("gone", { status: 502 });
const proxy = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {}, onError: GONE }, async (request) => {
  const { pathname, search } = new URL(request.url);
  const text = await request.text();
  const { method, headers } = request;
  const forward = async () => {
    const reply = await fetch(project().url + pathname + search, { method, headers, body: text || undefined });
    const body = await reply.arrayBuffer();
    const type = { "content-type": reply.headers.get("content-type") ?? "" };
    return new Response(reply.status === 204 ? null : body, { status: reply.status, headers: type });
  };
  if (!pathname.endsWith("/messenger_complete_with")) return await forward();

  const { fence, args: { order } } = JSON.parse(text);
  const isFirst = !seen.has(order);
  seen.add(order);
  const hold = () => ({ ...Promise.withResolvers<void>(), order, fence });
  if (isFirst && round && !round.before) {
    await (round.before = hold()).promise;
    return GONE();
  }
  const reply = await forward();
  if (isFirst && reply.ok && round && !round.after) await (round.after = hold()).promise;
  if (++calls % EVERY !== 0) return reply;
  lost++;
  return GONE();
});
Deno.test.afterAll(() => proxy.shutdown());

const lines: string[] = [];
const { target, project } = useTarget({
  root,
  clock: true,
  log: (line: string) => void lines.push(line),
  env: { SYMPHONY_WORKER_LEASE: "2000", SUPABASE_URL: `http://127.0.0.1:${proxy.addr.port}` },
});

Deno.test.beforeAll(async () => {
  await project().sql.unsafe(`
    create table public.shipments (n int generated always as identity, order_id int);
    grant select, insert on public.shipments to service_role;
    create function public.ship(args jsonb) returns jsonb language plpgsql set search_path = pg_catalog, pg_temp as $$
    declare v_n int;
    begin
      insert into public.shipments (order_id) values ((args ->> 'order')::int) returning n into v_n;
      return jsonb_build_object('shipment', v_n);
    end $$;
    create function public.reject(args jsonb) returns jsonb language plpgsql set search_path = pg_catalog, pg_temp as $$
    begin
      insert into public.shipments (order_id) values ((args ->> 'order')::int);
      raise exception 'no such order' using errcode = 'PT422';
    end $$`);
});

async function send(payloads: Record<string, unknown>[]): Promise<string[]> {
  const messages = payloads.map((payload) => ({ message: { type: "Ship", payload } }));
  const { status, body } = await target().call("dispatch/batch", { json: { messages } });
  assert.equal(status, 201, JSON.stringify(body));
  return (body.results as { messageId: string }[]).map(({ messageId }) => messageId);
}

testLocally(
  "completeWith · workers killed, replies lost, handlers failing afterwards: one row per message",
  async () => {
    const { sql, functions } = project();
    await send(Array.from({ length: MESSAGES }, (_, order) => ({ order })));
    const killed: { before: Held; after: Held }[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      const held: Round = round = {};
      const { before, after } = await eventually("one call has not begun and one is committed", () => {
        const { before, after } = held;
        return before && after && { before, after };
      });
      await functions.kill("worker");
      killed.push({ before, after });
      round = undefined;
      for (const { resolve } of [before, after]) resolve();
    }
    await eventually("all are finished", async () => {
      const [{ open }] = await sql`select count(*)::int as open from messenger_messages where processed_at is null`;
      return open === 0;
    }, 60_000);

    const rows = await sql`
    select (m.body ->> 'order')::int as "order", m.status, m.fence::int, m.result, array_agg(s.n) as shipments
    from messenger_messages m left join shipments s on s.order_id = (m.body ->> 'order')::int group by m.id`;
    assert.equal(rows.length, MESSAGES);
    for (const { status, result, shipments } of rows) {
      assert.deepEqual([status, shipments.length, result], ["completed", 1, { shipment: shipments[0] }]);
    }
    const fences = new Map(rows.map(({ order, fence }) => [order, fence]));
    for (const { before, after } of killed) {
      assert.ok(fences.get(before.order) > before.fence, "a call that had not begun: delivered again");
      assert.equal(fences.get(after.order), after.fence, "a call that was committed: not delivered again");
    }
    const again = rows.filter(({ fence }) => fence > 1).length;
    assert.ok(lines.some((line) => line.includes('"answer":"already"')), "a repeated call was recorded already");
    assert.ok(lines.some((line) => line.includes("failed after its message was completed")));
    console.log(`completeWith: ${MESSAGES} messages, ${KILLS} kills, ${lost} replies lost, ${again} delivered again`);
    const broken = await sql`select * from messenger_audit() where violations > 0`;
    assert.deepEqual([...broken], []);
  },
);

testLocally(
  "completeWith · a function that raises an error leaves no effect, and its SQLSTATE is the dead letter's error class",
  async () => {
    const { sql } = project();
    const [rejected, missing] = await send([
      { order: 1_001, function: "reject", ms: 0 },
      { order: 1_002, function: "no_such_function", ms: 0 },
    ]);
    await sql`update messenger_messages set max_retries = 1 where id = ${missing}`;
    const deadLetter = (id: string) =>
      eventually("the message is a dead letter", async () => {
        const [row] = await sql`select * from messenger_failed_messages where message_id = ${id}`;
        return row;
      });
    const dead = await deadLetter(rejected);
    assert.deepEqual([dead.error_class, dead.error, dead.attempts.length], ["PT422", "no such order", 1]);
    assert.deepEqual([(await deadLetter(missing)).error_class, (await deadLetter(missing)).attempts.length], [
      "SM_NOT_FOUND",
      2,
    ]);
    assert.equal((await sql`select from shipments where order_id > 1000`).length, 0);
  },
);
