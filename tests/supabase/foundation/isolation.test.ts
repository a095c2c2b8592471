// Serializable and other settings of a session: conflicts fail with 40001 only, names and positions are independent of
// settings, nothing is lost.
import assert from "node:assert/strict";
import postgres, { type Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { call, callValue, claim, dispatch, dispatchMany, setClock } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

/** A session with its own settings. */
async function sessionWith(settings: Record<string, string>) {
  const sql = session(project());
  for (const [name, value] of Object.entries(settings)) await sql`select set_config(${name}, ${value}, false)`;
  return sql;
}

/** Repeats a call while it fails with 40001. */
async function retried<Result>(work: () => Promise<Result>, failures: string[]): Promise<Result> {
  while (true) {
    try {
      return await work();
    } catch (error) {
      assert.ok(error instanceof postgres.PostgresError);
      failures.push(error.code);
      if (error.code !== "40001" || failures.length > 5_000) throw error;
    }
  }
}

test("serializable · messages of concurrent sessions are handled once, only 40001 is raised", async () => {
  const { sql } = project();
  const sessions = await Promise.all(
    Array.from({ length: 4 }, () => sessionWith({ default_transaction_isolation: "serializable" })),
  );
  const failures: string[] = [];
  const handled: string[] = [];
  const work = async (own: Sql, n: number) => {
    for (let turn = 0; turn < 10; turn++) {
      await retried(() => dispatch(own, { payload: { n, turn }, idempotency_key: `${n}-${turn}` }), failures);
      const rows = await retried(() => claim(own, { worker: `w${n}`, batch: 2 }), failures);
      for (const { id, fence } of rows) {
        assert.equal(await retried(() => callValue(own, "messenger_complete", { id, fence }), failures), "completed");
        handled.push(id);
      }
    }
  };
  try {
    await Promise.all(sessions.map(work));
    const rest = await claim(sql, { batch: 100 });
    const all = [...handled, ...rest.map(({ id }) => id)];
    assert.deepEqual([all.length, new Set(all).size], [40, 40]);
    const [{ broken }] = await sql`select sum(violations)::int as broken from messenger_audit()`;
    assert.equal(broken, 0);
  } finally {
    await Promise.all(sessions.map((own) => own.end()));
  }
});

test("serializable · the first message of an ordering key waits for the next tick, as explain reports", async () => {
  const { sql } = project();
  await using sender = await sessionWith({ default_transaction_isolation: "serializable" });
  const { id } = await dispatch(sender, { ordering_key: "k" });
  assert.deepEqual(await claim(sql), []);
  const [{ reason, detail, remedy }] = await call(sql, "messenger_explain", { id });
  assert.deepEqual([reason, remedy], ["ordering_key", "select messenger_tick()"]);
  assert.match(detail, /^no earlier message of ordering key 'k' is unfinished/);
  await sql.unsafe(remedy);
  assert.deepEqual((await claim(sql)).map((row) => row.id), [id]);
});

test("serializable · a tick beside another session's writes has no error, the next does the rest", async () => {
  const { sql } = project();
  await using ticker = await sessionWith({ default_transaction_isolation: "serializable" });
  await dispatchMany(sql, 5);
  await claim(sql, { batch: 5, lease: "1 s" });
  await setClock(sql, "1 minute");
  await ticker`begin`;
  await ticker`select count(*) from messenger_messages`;
  const [first] = await sql`select id, fence from messenger_messages order by id limit 1`;
  await call(sql, "messenger_complete", first);
  const figures = await callValue(ticker, "messenger_tick");
  assert.equal(typeof figures.rescued, "number");
  await ticker`commit`.catch((error: postgres.PostgresError) => assert.equal(error.code, "40001"));
  await callValue(sql, "messenger_tick");
  const rows = await sql`select status from messenger_messages order by id`;
  assert.deepEqual(rows.map(({ status }) => status), ["completed", "pending", "pending", "pending", "pending"]);
});

test("sessions · a scan continues at its last position under any DateStyle and zone", async () => {
  const { sql } = project();
  await using india = await sessionWith({ datestyle: "SQL, DMY", timezone: "Asia/Kolkata" });
  await using iso = await sessionWith({ datestyle: "ISO, MDY", timezone: "UTC" });
  for (const [writer, reader] of [[india, iso], [iso, india]]) {
    await sql`delete from messenger.idempotency_keys`;
    await sql`
      insert into messenger.idempotency_keys (scope, key, message_id, message_type, fingerprint, transport_name,
        queue_name, expires_at)
      select 'service', 'k' || n, gen_random_uuid(), 'T', '', 'supabase', 'default',
        messenger.now() - n * interval '1 minute' from generate_series(1, 9) n`;
    await writer`select messenger.move_scan('prune_keys', messenger.now() - interval '5.5 minutes', null, null)`;
    // A step without time left does one chunk.
    await reader`select messenger.prune('prune_keys', 'messenger.idempotency_keys', 'find_spent_keys', messenger.now(),
      2, '-infinity')`;
    const left = (await sql`select key from messenger.idempotency_keys order by 1`).map(({ key }) => key);
    assert.deepEqual(left, ["k1", "k2", "k3", "k6", "k7", "k8", "k9"]);
  }
});

test("sessions · a session's remembered claims are readable after DateStyle and zone have changed", async () => {
  const { sql } = project();
  await dispatchMany(sql, 6);
  // The first scan that is remembered is the first.
  await using own = await sessionWith({ "messenger.watermark_after": "0", "messenger.queues_after": "0" });
  const taken = [];
  for (
    const [datestyle, timezone] of [["SQL, DMY", "Asia/Kolkata"], ["ISO, MDY", "UTC"], ["German", "America/New_York"]]
  ) {
    await own`select set_config('datestyle', ${datestyle}, false), set_config('timezone', ${timezone}, false)`;
    taken.push((await call(own, "messenger_claim", { worker: "ada", batch: 2 })).length);
    const notes = await own`
      select current_setting('messenger.poll_noted') ~ '^[0-9]+[.][0-9]+[|]' as is_number`;
    assert.equal(notes[0].is_number, true);
  }
  assert.deepEqual(taken, [2, 2, 2]);
});

test("sessions · a function that is subscribed under quote_all_identifiers is subscribed once", async () => {
  const { sql } = project();
  await sql.unsafe(
    `create or replace function public.receive_event(jsonb) returns jsonb language sql
      set search_path = pg_catalog, pg_temp as $$ select null::jsonb $$`,
  );
  await using quoting = await sessionWith({ quote_all_identifiers: "on" });
  await using plain = await sessionWith({ quote_all_identifiers: "off" });
  const ids = [];
  for (const own of [quoting, plain]) {
    ids.push((await own`select messenger.on('completed', 'public.receive_event') as id`)[0].id);
    await own`select messenger.set_sql_handler('Inner', 'public.receive_event')`;
    assert.equal(
      (await sql`select sql_handler from messenger.message_types where type = 'Inner'`)[0].sql_handler,
      "public.receive_event",
    );
  }
  assert.equal(ids[0], ids[1]);
  await sql`select messenger.off(${ids[0]})`;
  await sql`select messenger.set_sql_handler('Inner', null)`;
});

test("sessions · verify, health and explain are independent of settings for names and times", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { delay: "1 hour" });
  const settings = {
    datestyle: "German",
    intervalstyle: "sql_standard",
    timezone: "Asia/Kathmandu",
    quote_all_identifiers: "on",
    extra_float_digits: "-15",
    search_path: "messenger, public, pg_temp",
    bytea_output: "escape",
  };
  await using hostile = await sessionWith(settings);
  const seen = async (own: Sql) => [
    (await own`select kind, object, state from messenger_verify() where kind <> 'operation'`).map((row) => ({
      ...row,
    })),
    (await callValue(own, "messenger_health")).checks.map(({ name, status }: Record<string, string>) =>
      `${name} ${status}`
    ),
    (await call(own, "messenger_explain", { id })).map(({ reason, remedy }) => [reason, remedy]),
  ];
  const [verify, checks] = await seen(hostile);
  assert.ok(verify.some(({ object }: Record<string, string>) => object === "messenger.test_clock"), "it compares");
  assert.ok(checks.length > 10);
  await using plain = await sessionWith({ quote_all_identifiers: "off" });
  assert.deepEqual(await seen(hostile), await seen(plain));
});
