// ctx.completeWith end to end: workers are killed and replies are lost, and each completed message leaves exactly one row.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { rootWith } from "../own_packs.ts";
import { testLocally, useTarget } from "../target.ts";

const MESSAGES = 40;
const KILLS = 3;
const EVERY = 3; // one reply in so many is lost

const root = await rootWith({
  "packs/index.ts": `
    import { z } from "zod";
    import { defineMessage } from "../shared/message.ts";

    const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const ship = defineMessage({
      type: "Ship",
      payload: z.object({ order: z.int(), function: z.string().default("ship"), ms: z.int().default(60) }),
      retry: { maxRetries: 20, delay: 50 },
      async handle(payload, ctx) {
        await pause(payload.ms);
        const answer = await ctx.completeWith(payload.function, { order: payload.order });
        ctx.log.info("shipped", { answer: answer.outcome });
        await pause(payload.ms);
        throw new Error("after its completion a handler may say what it likes");
      },
    });
    export const messageTypes = [ship];
    export const middleware = [];
    `,
});

// The worker speaks to the API through here: what it asks is done, but now and then it does not hear so.
let calls = 0;
let lost = 0;
const proxy = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
  const { pathname, search } = new URL(request.url);
  const answer = await fetch(project().url + pathname + search, {
    method: request.method,
    headers: request.headers,
    body: request.body,
  });
  const body = await answer.arrayBuffer();
  if (pathname.endsWith("/messenger_complete_with") && ++calls % EVERY === 0 && ++lost) {
    return new Response("gone", { status: 502 });
  }
  const headers = { "content-type": answer.headers.get("content-type") ?? "" };
  return new Response(answer.status === 204 ? null : body, { status: answer.status, headers });
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
    create function public.refuse(args jsonb) returns jsonb language plpgsql set search_path = pg_catalog, pg_temp as $$
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

testLocally("completeWith · workers killed, replies lost, handlers failing afterwards: one row a message", async () => {
  const { sql, functions } = project();
  // Of different lengths, so that a kill after one has shipped finds others before and in their call.
  await send(Array.from({ length: MESSAGES }, (_, order) => ({ order, ms: 20 + 40 * (order % 8) })));
  const dead: string[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    dead.push(
      await eventually("a worker that lives holds messages", async () => {
        const [row] = await sql`
          select locked_by from messenger_messages where status = 'processing' and locked_by <> all (${dead}) limit 1`;
        return row?.locked_by as string | undefined;
      }),
    );
    const shipped = async () => (await sql`select count(*)::int as n from shipments`)[0].n;
    const before = await shipped();
    await eventually("it has shipped some", async () => await shipped() > before, 5_000).catch(() => {});
    await functions.kill("worker");
  }
  await eventually("all are finished", async () => {
    const [{ open }] = await sql`select count(*)::int as open from messenger_messages where processed_at is null`;
    return open === 0;
  }, 60_000);

  const rows = await sql`
    select m.status, m.fence, m.result, array_agg(s.n) as shipments
    from messenger_messages m left join shipments s on s.order_id = (m.body ->> 'order')::int group by m.id`;
  assert.equal(rows.length, MESSAGES);
  for (const { status, result, shipments } of rows) {
    assert.deepEqual([status, shipments.length, result], ["completed", 1, { shipment: shipments[0] }]);
  }
  const again = rows.filter(({ fence }) => Number(fence) > 1).length;
  assert.ok(lost > 0 && again > 0, `void: ${lost} replies lost, ${again} messages delivered again`);
  assert.ok(lines.some((line) => line.includes('"answer":"already"')), "a repeated call was answered already");
  assert.ok(lines.some((line) => line.includes("failed after its message was completed")));
  console.log(`completeWith: ${MESSAGES} messages, ${KILLS} kills, ${lost} replies lost, ${again} delivered again`);
  const broken = await sql`select * from messenger_audit() where violations > 0`;
  assert.deepEqual([...broken], []);
});

testLocally(
  "completeWith · a function that raises leaves nothing, and its SQLSTATE is the letter's error class",
  async () => {
    const { sql } = project();
    const [refused, missing] = await send([
      { order: 1_001, function: "refuse", ms: 0 },
      { order: 1_002, function: "no_such_function", ms: 0 },
    ]);
    await sql`update messenger_messages set max_retries = 1 where id = ${missing}`;
    const letter = (id: string) =>
      eventually("the message is a dead letter", async () => {
        const [row] = await sql`select * from messenger_failed_messages where message_id = ${id}`;
        return row;
      });
    const dead = await letter(refused);
    assert.deepEqual([dead.error_class, dead.error, dead.attempts.length], ["PT422", "no such order", 1]);
    assert.deepEqual([(await letter(missing)).error_class, (await letter(missing)).attempts.length], [
      "SM_NOT_FOUND",
      2,
    ]);
    assert.equal((await sql`select from shipments where order_id > 1000`).length, 0);
  },
);
