// messenger_explain of a message's surroundings: its queue and transport, the messages before it, and how causes are
// found.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, dispatch, dispatchAndClaim, dispatchMany } from "../bus.ts";
import { applyRemedy, causeOf, explain, isClaimable, reasons } from "./explain.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await call(sql, "messenger_tick");
});

test("paused · since when; the remedy resumes", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { queue: "mail" });
  await call(sql, "messenger_pause", { transport: "supabase", queue: "mail" });
  assert.deepEqual(await reasons(sql, id), ["paused"]);
  assert.match((await causeOf(sql, id, "paused")).detail, /^queue mail of transport supabase is paused since /);
  await applyRemedy(sql, id, "paused");
  assert.ok(await isClaimable(sql, id));
});

test("paused · precedes the message's own delay, and is not returned for other queues", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { queue: "mail", delay: "1 hour" });
  const { id: other } = await dispatch(sql, { delay: "1 hour" });
  await call(sql, "messenger_pause", { transport: "supabase", queue: "mail" });
  assert.deepEqual([await reasons(sql, id), await reasons(sql, other)], [["paused", "delayed"], ["delayed"]]);
});

test("transport disabled · the remedy enables it", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await sql`update messenger_transports set enabled = false where name = 'supabase'`;
  assert.deepEqual(await reasons(sql, id), ["transport_disabled"]);
  await applyRemedy(sql, id, "transport_disabled");
  assert.ok(await isClaimable(sql, id));
});

test("transport missing · the remedy creates it again", async () => {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type) values ('mail', 'supabase')`;
  const { id } = await dispatch(sql, { transport: "mail" });
  await sql`delete from messenger_transports where name = 'mail'`;
  assert.deepEqual(await reasons(sql, id), ["transport_missing"]);
  await applyRemedy(sql, id, "transport_missing");
  assert.ok(await isClaimable(sql, id));
});

test("transport type · a transport of another type; the remedy makes its messages available here", async () => {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type) values ('mail', 'supabase')`;
  const { id } = await dispatch(sql, { transport: "mail" });
  await sql`update messenger_transports set type = 'redis' where name = 'mail'`;
  assert.deepEqual(await reasons(sql, id), ["transport_type"]);
  await applyRemedy(sql, id, "transport_type");
  assert.ok(await isClaimable(sql, id));
});

test("waiting turn · by priority, time and arrival; running, delayed and other ones do not count", async () => {
  const { sql } = project();
  const taken = await dispatchAndClaim(sql);
  await dispatchMany(sql, 3, { priority: 8 });
  await dispatchMany(sql, 2, { queue: "other", priority: 10 });
  await dispatch(sql, { priority: 10, delay: "1 hour" });
  const [, , third] = await dispatchMany(sql, 3);
  await dispatch(sql, { priority: 4 });
  const { detail } = await causeOf(sql, third, "waiting_turn");
  assert.match(detail, /^due messages before it in queue default of transport supabase: 5; .* within 5 s: 1$/);
  await sql`update messenger_messages set lock_expires_at = now() - interval '1 s' where id = ${taken.id}`;
  assert.match((await causeOf(sql, third, "waiting_turn")).detail, /supabase: 6; /);
});

test("waiting turn · the remedy puts it first; one of the highest priority needs more workers", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 20);
  await applyRemedy(sql, ids[19], "waiting_turn");
  assert.deepEqual((await claim(sql, { batch: 1 })).map(({ id }) => id), [ids[19]]);
  const [, urgent] = await dispatchMany(sql, 2, { priority: 10 });
  const { remedy } = await causeOf(sql, urgent, "waiting_turn");
  assert.equal(remedy, `select messenger_start(options => '{"max_workers": 8}')`);
  await sql.unsafe(remedy);
  assert.equal((await sql`select max_workers from messenger.settings`)[0].max_workers, 8);
  await call(sql, "messenger_stop");
});

test("waiting turn · behind very many it stops counting and reading", async () => {
  await using own = session(project());
  await own`insert into messenger_messages (message_type, priority) select 'Greeting', 1 + g % 10
    from generate_series(1, 40000) g`;
  const { id } = await dispatch(own, { priority: 1 });
  await own.begin(async (transaction) => {
    assert.match((await causeOf(transaction, id, "waiting_turn")).detail, /supabase: more than 10000; /);
    const [{ read }] = await transaction`
      select sum(pg_stat_get_xact_tuples_returned(c) + pg_stat_get_xact_tuples_fetched(c))::int as read
      from (select 'public.messenger_messages'::regclass as c) t`;
    assert.ok(read < 11_000, `${read} rows were read`);
  });
});

test("ready · due, first, and a worker polls: nothing blocks it", async () => {
  const { sql } = project();
  await call(sql, "messenger_claim", { worker: "ada" });
  const { id } = await dispatch(sql);
  assert.deepEqual(await reasons(sql, id), ["ready"]);
  const row = await causeOf(sql, id, "ready");
  assert.match(row.detail, /^due since .* and first in its queue; .* within 5 s: 1$/);
  assert.equal(row.remedy, null);
});

test("unknown · an id without a message, null, and one whose dead letter is left", async () => {
  const { sql } = project();
  for (const id of ["01990000-0000-7000-8000-000000000000", null]) {
    const [row] = await sql`select * from messenger_explain(${id})`;
    assert.deepEqual([row.reason, row.remedy], ["unknown", null]);
    assert.match(row.detail, /never dispatched to this database, .* or it finished and was pruned$/);
  }
  const { id, fence } = await dispatchAndClaim(sql);
  await call(sql, "messenger_fail", { id, fence, error: "no", retryable: false });
  await sql`delete from messenger_messages where id = ${id}`;
  await applyRemedy(sql, id, "unknown");
  assert.ok(await isClaimable(sql, id));
});

test("explain · is for service_role, and for no user; names are quoted in remedies", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  const requested = await asRole(sql, "service_role", (tx) => reasons(tx, id));
  assert.ok(requested.includes("no_wakeups"));
  for (const role of ["anon", "authenticated"] as const) {
    await assert.rejects(asRole(sql, role, (tx) => reasons(tx, id)), { code: "42501" });
  }
});

const CAUSE = (name: string, body: string) =>
  `create or replace function messenger.reason_${name}(message public.messenger_messages, at timestamptz)
   returns setof messenger.reason language plpgsql set search_path = pg_catalog, pg_temp as $$ begin ${body} end $$`;

test("causes · a further one is one function; an error in one hides no other", async () => {
  await using own = session(project());
  const { id } = await dispatch(own, { delay: "1 hour" });
  const undo = new Error("undo");
  await own.begin(async (tx) => {
    await tx.unsafe(CAUSE("limit", "return query select 5, 'limit', 'the limit of ' || message.queue_name, null;"));
    await tx.unsafe(CAUSE("broken", "raise exception 'out of order';"));
    await tx.unsafe(CAUSE("foreign", "raise exception 'never asked';"));
    await tx.unsafe(
      "create function messenger.reason_shape(uuid) returns setof messenger.reason language sql as " +
        "'select null::messenger.reason'",
    );
    await tx.unsafe(`grant create on schema messenger to service_role;
      alter function messenger.reason_foreign(public.messenger_messages, timestamptz) owner to service_role`);
    const rows = await explain(tx, id);
    assert.deepEqual(rows.map(({ reason, detail }) => [reason, reason === "delayed" ? "" : detail]), [
      ["limit", "the limit of default"],
      ["delayed", ""],
      ["unexplained", "messenger.reason_broken raised: out of order"],
    ]);
    throw undo;
  }).catch((error) => assert.equal(error, undo));
});

test("causes · each returns the name of its function, and has a comment", async () => {
  const { sql } = project();
  const causes = await sql`
    select c.name, p.prosrc as source, obj_description(p.oid) as comment
    from messenger.own_functions('reason', 'public.messenger_messages, timestamp with time zone', 'messenger.reason') c
    join pg_proc p on p.oid = c.function`;
  assert.ok(causes.length >= 20, `${causes.length} causes`);
  for (const { name, source, comment } of causes) {
    assert.ok(source.includes(`'${name}'`), `reason_${name} returns another name`);
    assert.ok(comment, `reason_${name} has no comment`);
  }
});

test("health · a check with an error is unhealthy and hides no other", async () => {
  await using own = session(project());
  const undo = new Error("undo");
  await own.begin(async (tx) => {
    await tx.unsafe(`create function messenger.health_broken(at timestamptz) returns setof messenger.check_result
      language plpgsql set search_path = pg_catalog, pg_temp as $$ begin raise exception 'out of order'; end $$`);
    const { status, checks } = await callValue(tx, "messenger_health");
    assert.equal(status, "unhealthy");
    const names = checks.map(({ name }: { name: string }) => name);
    assert.ok(names.includes("broken") && names.includes("clock") && names.includes("workers"));
    assert.equal(
      checks.find(({ name }: { name: string }) => name === "broken").detail,
      "the check itself failed: out of order",
    );
    throw undo;
  }).catch((error) => assert.equal(error, undo));
});
