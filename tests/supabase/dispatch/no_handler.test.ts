// Types without a handler: health names them, and their messages wait, however long it takes.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { call, callValue, claim, dispatch, dispatchMany, messageOf, type Row, setClock } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

async function noHandler(): Promise<Row> {
  const { checks } = await callValue(project().sql, "messenger_health");
  return checks.find((row: Row) => row.name === "no_handler");
}

const HEALTHY = {
  name: "no_handler",
  status: "healthy",
  detail: "all due types have a handler",
  figures: { types: 0 },
};

test("no_handler · a due type that no worker announces is named after ten seconds, with a remedy", async () => {
  const { sql } = project();
  assert.deepEqual(await noHandler(), HEALTHY);
  for (const type of ["Lost", "Other.Lost", "Lost"]) await dispatch(sql, { type, queue: "q" });
  await setClock(sql, "5 seconds");
  assert.deepEqual(await noHandler(), HEALTHY);
  await setClock(sql, "11 seconds");
  const { status, detail, remedy } = await noHandler();
  assert.deepEqual([status, detail], ["degraded", 'no worker of the last minute handles "Lost", "Other.Lost"']);
  assert.match(remedy, /deploy a worker/);
  assert.equal((await callValue(sql, "messenger_health")).status, "unhealthy", "the clock never ticked here");
});

test("no_handler · a worker that announced the type, or no types, within a minute counts", async () => {
  const { sql } = project();
  await dispatch(sql, { type: "Lost" });
  await setClock(sql, "1 hour");
  await claim(sql, { worker: "other", types: ["Else"] });
  assert.equal((await noHandler()).status, "degraded");
  // Polls an empty queue: the message itself stays.
  await sql`insert into messenger.workers values ('ada', null, null, array['Lost'], messenger.now(), messenger.now())`;
  assert.deepEqual(await noHandler(), HEALTHY);
  await setClock(sql, "1 hour 61 seconds");
  assert.equal((await noHandler()).status, "degraded", "that was too long ago");
  await sql`insert into messenger.workers values ('bob', null, null, null, messenger.now(), messenger.now())`;
  assert.deepEqual(await noHandler(), HEALTHY);
});

test("no_handler · a worker of another transport or queue does not count", async () => {
  const { sql } = project();
  await dispatch(sql, { type: "Lost", queue: "mine" });
  await setClock(sql, "11 seconds");
  await sql`insert into messenger.workers values
    ('ada', null, array['other'], array['Lost'], messenger.now(), messenger.now()),
    ('bob', 'sync', null, array['Lost'], messenger.now(), messenger.now())`;
  assert.equal((await noHandler()).status, "degraded");
  await sql`insert into messenger.workers
    values ('eve', 'supabase', array['x', 'mine'], array['Lost'], messenger.now(), messenger.now())`;
  assert.deepEqual(await noHandler(), HEALTHY);
});

test("no_handler · not for delayed, running or finished messages", async () => {
  const { sql } = project();
  await dispatch(sql, { type: "Later", delay: "1 day" });
  await dispatch(sql, { type: "Running" });
  await claim(sql, { lease: "12 hours" });
  await setClock(sql, "1 hour");
  assert.deepEqual(await noHandler(), HEALTHY);
});

test("no_handler · a type with a handler in SQL has a handler", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create function public.handle_it(jsonb) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '1'::jsonb $$;
    select messenger.set_sql_handler('Lost', 'handle_it')`);
  await dispatch(sql, { type: "Lost" });
  await setClock(sql, "1 hour");
  assert.deepEqual(await noHandler(), HEALTHY);
});

test("no_handler · found behind a thousand messages with a handler", async () => {
  const { sql } = project();
  await dispatchMany(sql, 1000, { type: "Handled", queue: "full" });
  await dispatch(sql, { type: "Lost", queue: "full", priority: 1 });
  await setClock(sql, "11 seconds");
  await claim(sql, { worker: "ada", queues: ["none"], types: ["Handled"] });
  await sql`update messenger.workers set queues = null`;
  assert.equal((await noHandler()).detail, 'no worker of the last minute handles "Lost"');
});

test("no_handler · its messages are never lost: they wait unchanged for a new handler", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { type: "Lost", priority: 10 });
  for (const hours of [1, 24, 24 * 30]) {
    await setClock(sql, `${hours} hours`);
    await call(sql, "messenger_tick");
    assert.deepEqual(await claim(sql, { types: ["Else"] }), []);
  }
  const { status, fence, retry_count } = await messageOf(sql, id);
  assert.deepEqual([status, fence, retry_count], ["pending", "0", 0]);
  const [taken] = await claim(sql, { types: ["Lost"] });
  assert.equal(taken.id, id);
});
