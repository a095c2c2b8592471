// Scan watermarks make scans short and lose nothing: a message that becomes visible behind one is found when it ends,
// and it ends soon.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { rememberQueues } from "./known_queues.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

/** A session that stores a scan watermark at every scan, as after slow ones. */
async function marking(): Promise<ReturnType<typeof session>> {
  const sql = session(project());
  await sql`set messenger.watermark_after = '-1 hour'`;
  return sql;
}

const claimed = async (sql: ReturnType<typeof session>) =>
  (await sql`select id from messenger_claim('w', 10)`).map(({ id }) => id);
const dispatched = async (type = "Greeting"): Promise<string> =>
  (await project().sql`select id from messenger_dispatch(${type})`)[0].id;
const later = (skew: string) => project().sql`select messenger.set_clock(${skew}::interval)`;

test("scan watermarks · a scan after one begins at its position", async () => {
  await using sql = await marking();
  await dispatched();
  assert.equal((await claimed(sql)).length, 1);
  const name = (await sql`select messenger.watermark_setting('supabase', 'default', null) as name`)[0].name;
  const [{ mark }] = await sql`select current_setting(${name}, true) as mark`;
  const { placed, ends, times, ids } = JSON.parse(mark);
  assert.ok(Date.parse(placed) < Date.parse(ends));
  assert.equal(times.length, 10);
  assert.ok(!times.includes("-infinity"), "every priority was scanned to its end");
  assert.equal(ids.length, 10);
});

test("scan watermarks · a message that arrives after one is found at once", async () => {
  await using sql = await marking();
  assert.deepEqual(await claimed(sql), []);
  for (let n = 0; n < 3; n++) {
    const id = await dispatched();
    assert.deepEqual(await claimed(sql), [id]);
  }
});

test("scan watermarks · a transaction that commits late is found within five seconds", async () => {
  await using producer = session(project());
  await using sql = await marking();
  await producer`begin`;
  const [{ id }] = await producer`select id from messenger_dispatch('Greeting')`;
  await later("1 second");
  await project().sql`select messenger_dispatch('Other')`;
  assert.equal((await claimed(sql)).length, 1);
  await producer`commit`;
  assert.deepEqual(await claimed(sql), [], "behind the mark");
  await later("6.1 seconds");
  assert.deepEqual(await claimed(sql), [id]);
});

test("scan watermarks · a lease that expires behind one is found within five seconds", async () => {
  await using sql = await marking();
  const id = await dispatched();
  await project().sql`select messenger_claim('dead', 1, '2 seconds')`;
  await later("1.9 seconds");
  assert.deepEqual(await claimed(sql), []);
  await later("2.1 seconds");
  assert.deepEqual(await claimed(sql), [], "behind the mark");
  await later("7 seconds");
  assert.deepEqual(await claimed(sql), [id]);
});

test("scan watermarks · a clock that steps back resets them", async () => {
  await using sql = await marking();
  await later("1 hour");
  await dispatched();
  assert.equal((await claimed(sql)).length, 1, "a scan was made, and its watermark stored");
  await later("0");
  const id = await dispatched();
  assert.deepEqual(await claimed(sql), [id]);
});

test("queues · a clock that steps back resets the remembered queues", async () => {
  await using sql = session(project());
  await sql`set messenger.queues_after = '-1 hour'`;
  await later("1 hour");
  assert.deepEqual(await claimed(sql), []);
  await later("0");
  const id = await dispatched();
  assert.deepEqual(await claimed(sql), [id]);
});

test("scan watermarks · one worker's hides nothing from a worker of other types", async () => {
  await using sql = await marking();
  const id = await dispatched("Letter");
  await later("2 seconds");
  assert.deepEqual([...await sql`select id from messenger_claim('a', 10, types => array['Greeting'])`], []);
  assert.deepEqual(
    (await sql`select id from messenger_claim('b', 10, types => array['Letter'])`).map((row) => row.id),
    [id],
  );
});

test("scan watermarks · one is deleted when scans are fast again", async () => {
  await using sql = await marking();
  await dispatched();
  await claimed(sql);
  await sql`set messenger.watermark_after = '1 day'`;
  await later("10 seconds");
  await claimed(sql);
  const [{ mark }] =
    await sql`select current_setting(messenger.watermark_setting('supabase', 'default', null), true) as mark`;
  assert.equal(mark, "");
});

test("scan watermarks · every priority has its own: a high one that was full hides no lower one", async () => {
  await using sql = await marking();
  const { sql: any } = project();
  await any`select messenger_dispatch_batch((select jsonb_agg(jsonb_build_object('type', 'High', 'priority', 9))
    from generate_series(1, 15)))`;
  const [{ id: low }] = await any`select id from messenger_dispatch('Low', priority => 2)`;
  await later("1 second");
  assert.equal((await claimed(sql)).length, 10, "the scan stopped in priority 9");
  assert.deepEqual((await claimed(sql)).slice(-1), [low]);
});

test("scan watermarks · a slow search for queues is remembered for a second at most", async () => {
  await using sql = session(project());
  await sql`set messenger.queues_after = '-1 hour'`;
  await dispatched();
  await claimed(sql);
  const [{ known }] = await sql`
    select string_to_array(current_setting('messenger.known_queues_' || replace(hashtextextended('', 0)::text, '-',
      'n')), '|') as known`;
  const [placed, , endsForAnotherLook, queues] = known;
  assert.equal(queues, "{supabase/default}");
  const seconds = Number(endsForAnotherLook) - Number(placed);
  assert.ok(seconds >= 0 && seconds <= 1.001, `${seconds}`);
  const [{ id }] = await project().sql`select id from messenger_dispatch('Other', queue => 'new')`;
  await later("1.1 seconds");
  assert.deepEqual(await claimed(sql), [id]);
});

test("queues · a claim that the remembered queues do not fill searches for new ones", async () => {
  await using sql = session(project());
  await dispatched();
  await claimed(sql);
  await rememberQueues(sql);
  const [{ id }] = await project().sql`select id from messenger_dispatch('Other', queue => 'new')`;
  assert.deepEqual(await claimed(sql), [id]);
});
