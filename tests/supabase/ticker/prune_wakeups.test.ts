// Pruning of pg_net's responses: ours are known by the request ids that wake-ups record.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { call, callValue, dispatch } from "../bus.ts";

const project = useProject();
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`truncate net._http_response`;
});

const tick = (args: Record<string, unknown> = {}) => callValue(project().sql, "messenger_tick", args);

/** Wake-ups of this age, with responses, beside responses to others' requests with neighbouring ids. */
async function respondedWakeups(count: number, age: string) {
  const { sql } = project();
  await sql`
    with wakeup as (
      insert into messenger.wakeups (request_id, at)
      select nextval('net.http_request_queue_id_seq'), now() - ${age}::interval from generate_series(1, ${count}::int)
        returning *
    ),
    other as (select nextval('net.http_request_queue_id_seq') as request_id, b.at from wakeup b)
    insert into net._http_response (id, status_code, content, created)
    select b.request_id, 202, 'ours', b.at + interval '1 second' from wakeup b
    union all
    select o.request_id, 200, 'theirs', o.at + interval '1 second' from other o`;
}

const replies = async () => {
  const rows = await project().sql`select content, count(*)::int as count from net._http_response group by 1`;
  return Object.fromEntries(rows.map(({ content, count }) => [content, count]));
};

test("wake-ups · pg_net's responses to ours are deleted after an hour; others' never", async () => {
  const { sql } = project();
  await respondedWakeups(3, "90 minutes");
  await respondedWakeups(2, "10 minutes");
  await tick();
  assert.deepEqual(await replies(), { ours: 5, theirs: 5 });
  await sql`update messenger.wakeups set at = at - interval '40 minutes'`;
  await sql`update net._http_response set created = created - interval '40 minutes'`;
  await tick();
  assert.deepEqual(await replies(), { ours: 2, theirs: 5 });
  assert.equal((await sql`select from messenger.wakeups`).length, 2);
});

test("wake-ups · of a burst are deleted in chunks", async () => {
  await respondedWakeups(25, "5 hours");
  const left = [];
  for (let n = 0; n < 3; n++) {
    await tick({ batch: 1 });
    left.push((await replies()).ours);
  }
  assert.deepEqual(left, [15, 5, undefined]);
  assert.equal((await replies()).theirs, 25);
});

test("wake-ups · every call of the worker edge function is known by its id, also one by the ticker", async () => {
  const { sql } = project();
  await call(sql, "messenger_register", { types: [{ type: "Greeting" }] });
  await call(sql, "messenger_start", { functions_url: "https://example.test/functions/v1" });
  await call(sql, "messenger_stop");
  await sql`truncate net.http_request_queue`;
  await dispatch(sql);
  await tick();
  const [requested, noted] = [
    await sql`select id from net.http_request_queue order by id`,
    await sql`
    select request_id as id from messenger.wakeups order by 1`,
  ];
  assert.equal(requested.length, 2);
  assert.deepEqual([...noted], [...requested]);
});
