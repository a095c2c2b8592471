// The properties that make the queue fast, checked with the planner and the statistics, not with a stopwatch.
import assert from "node:assert/strict";
import postgres from "postgres";
import { empty, test, useProject } from "../../project.ts";

const project = useProject();
Deno.test.beforeEach(() => empty(project().sql));

const BACKLOG =
  `select messenger_dispatch_batch((select jsonb_agg(jsonb_build_object('type', 'Greeting', 'priority', 1 + g % 10))
    from generate_series(1, 1000) g))`;
const DELAYED = BACKLOG.replace("'priority'", "'delay', '1 hour', 'priority'");

test("hot path · a claim is a HOT update: it writes no index", async () => {
  const { sql } = project();
  await sql.unsafe(BACKLOG);
  await sql.begin(async (tx) => {
    await tx`select count(*) from messenger_claim('w', 200)`;
    const [{ updated, hot }] = await tx`
      select pg_stat_get_xact_tuples_updated(c)::int as updated, pg_stat_get_xact_tuples_hot_updated(c)::int as hot
      from (select 'public.messenger_messages'::regclass::oid as c) t`;
    assert.equal(updated, 200);
    assert.ok(hot >= 190, `${hot} of ${updated} were HOT`);
  });
});

test("hot path · the columns that a claim changes are in no index and in no index's predicate", async () => {
  const rows = await project().sql<{ name: string; columns: string[] }[]>`
    select i.indexrelid::regclass::text as name, array_agg(distinct a.attname::text) as columns
    from pg_index i
    join pg_depend d on d.objid = i.indexrelid and d.refobjid = i.indrelid and d.refobjsubid > 0
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = d.refobjsubid
    where i.indrelid = 'public.messenger_messages'::regclass group by 1`;
  // The primary key is not among them: it depends on its constraint.
  assert.ok(rows.length >= 3);
  const changed = [
    "status",
    "fence",
    "locked_at",
    "locked_by",
    "lock_expires_at",
    "updated_at",
    "retry_count",
    "lease_losses",
  ];
  for (const { name, columns } of rows) {
    assert.deepEqual(columns.filter((column) => changed.includes(column)), [], name);
  }
});

const polls: [string, string[], number][] = [
  ["a claim from a backlog", [BACKLOG], 10],
  ["an empty poll beside delayed messages", [DELAYED], 0],
  ["an empty poll of an empty queue", [], 0],
];
for (const [situation, backlog, found] of polls) {
  test(`hot path · ${situation} is one index and few pages`, async () => {
    const { sql } = project();
    for (const statement of backlog) for (let n = 0; n < 10; n++) await sql.unsafe(statement);
    await sql`analyze messenger_messages`;
    const plans: string[] = [];
    const admin = postgres(project().databaseUrl("supabase_admin"), {
      max: 1,
      onnotice: ({ message }) => void plans.push(message),
    });
    await admin.unsafe(
      `load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;
      set auto_explain.log_analyze = on; set auto_explain.log_buffers = on; set auto_explain.log_format = 'json';
      set auto_explain.log_level = 'notice'; set client_min_messages = 'notice';
      set messenger.watermark_after = '1 hour'`, // auto_explain makes the scan slow, but not in need of a watermark
    );
    const rows =
      await admin`select id from messenger_claim('w', 10, queues => array['default'], transport => 'supabase')`;
    await admin.end();
    assert.equal(rows.length, found);
    const scans = plans.flatMap((text) => scansOf(JSON.parse(text.slice(text.indexOf("{"))).Plan));
    assert.ok(scans.some(({ index }) => index === "messenger_messages_claim_idx"), "the claim's plan was not found");
    for (const { node, index, pages } of scans) {
      if (node === "Tid Scan") continue;
      assert.deepEqual([node.replace("Only ", ""), index], ["Index Scan", "messenger_messages_claim_idx"]);
      assert.ok(pages < 200, `${pages} pages for ${found} messages`);
    }
  });
}

test("hot path · ids are ordered by time, and a batch keeps its order", async () => {
  const { sql } = project();
  const [first] = await sql`select id from messenger_dispatch('A')`;
  const batch = await sql`select id from
      messenger_dispatch_batch((select jsonb_agg(jsonb_build_object('type', 'B')) from generate_series(1, 500)))
      order by ord`;
  const [last] = await sql`select id from messenger_dispatch('C')`;
  const ids = [first, ...batch, last].map(({ id }) => id);
  assert.deepEqual([...ids].sort(), ids);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-/);
  assert.ok(Math.abs(Number.parseInt(ids[0].replace("-", "").slice(0, 12), 16) - Date.now()) < 60_000);
});

interface Plan {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Name"?: string;
  "Shared Hit Blocks": number;
  "Shared Read Blocks": number;
  Plans?: Plan[];
}

/** Every node that reads the queue table. */
function scansOf(plan: Plan): { node: string; index?: string; pages: number }[] {
  const below = (plan.Plans ?? []).flatMap(scansOf);
  if (plan["Relation Name"] !== "messenger_messages" || !plan["Node Type"].endsWith("Scan")) return below;
  const pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
  return [{ node: plan["Node Type"], index: plan["Index Name"], pages }, ...below];
}
