// The manifest matches the migration, and messenger_verify names every difference from it.
import assert from "node:assert/strict";
import { migrationPath } from "../../../supabase/build/release.ts";
import { readSchemas } from "../../../supabase/build/schemas.ts";
import { test, useProject } from "../../project.ts";

const folder = new URL("../../../supabase/", import.meta.url);
const read = (path: string) => Deno.readTextFile(new URL(path, folder));
const project = useProject();
const newer = useProject({ defaultPrivileges: "revoked" });

const CATALOG =
  'select kind, object, definition from messenger.manifest() order by kind collate "C", object collate "C"';

async function expected(): Promise<unknown[]> {
  const rows: [string, string, string | null][] = JSON.parse(await read("manifest.json"));
  return rows.map(([kind, object, definition]) => ({ kind, object, definition }));
}

test("manifest · the file matches the migration, whatever the default privileges", async () => {
  const rows = await expected();
  assert.ok(rows.length > 300);
  for (const { sql } of [project(), newer()]) assert.deepEqual([...await sql.unsafe(CATALOG)], rows);
});

test("manifest · the schemas, applied file by file, make the same catalog", async () => {
  const { sql } = newer();
  await sql.unsafe(await read("rollback/rollback_symphony_messenger_schema.sql"));
  const [expectedManifest] = (await read(migrationPath)).match(
    /create or replace function messenger\.expected_manifest\(\).*?\$function\$;/s,
  ) ?? [];
  assert.ok(expectedManifest);
  await sql.unsafe("set check_function_bodies = off");
  for (const { file, sql: definitions } of readSchemas(new URL("schemas/", folder))) {
    if (file === "90_manifest/10_verify.sql") {
      await sql.unsafe(expectedManifest);
      await sql.unsafe(
        "revoke all on function messenger.expected_manifest() from public, anon, authenticated, service_role",
      );
    }
    await sql.unsafe(definitions);
  }
  assert.deepEqual([...await sql.unsafe(CATALOG)], await expected());
});

test("verify · a fresh installation has no differences", async () => {
  const { sql } = project();
  const catalog = await sql`select kind, object, state, detail from messenger_verify() where kind <> 'operation'`;
  assert.deepEqual([...catalog], [{
    kind: "catalog",
    object: "all",
    state: "ok",
    detail: `${(await expected()).length} objects as released`,
  }]);
});

test("verify · operation is ok when the ticker runs and the wake-ups have a URL", async () => {
  const { sql } = project();
  const states = async () =>
    Object.fromEntries(
      (await sql`select object, state from messenger_verify() where kind = 'operation'`).map((
        { object, state },
      ) => [object, state]),
    );
  assert.deepEqual(await states(), {
    clock: "unhealthy",
    clock_errors: "ok",
    own_rows: "ok",
    pg_net: "degraded",
    rights: "ok",
    worker_secret: "unhealthy",
  });
  await sql`select messenger_start('http://127.0.0.1:1/functions/v1')`;
  await sql`select messenger_tick()`;
  assert.deepEqual(await states(), {
    clock: "ok",
    clock_errors: "ok",
    own_rows: "ok",
    pg_net: "ok",
    rights: "ok",
    worker_secret: "ok",
  });
  await sql`select messenger_stop()`;
});

const drifts: { fault: string; kind: string; object: string; state: string }[] = [
  {
    fault: "drop index public.messenger_messages_claim_idx",
    kind: "index",
    object: "public.messenger_messages_claim_idx",
    state: "missing",
  },
  {
    fault: "alter table public.messenger_messages add column colour text",
    kind: "column",
    object: "public.messenger_messages.colour",
    state: "unexpected",
  },
  {
    fault: "alter table public.messenger_messages alter column priority set default 6",
    kind: "column",
    object: "public.messenger_messages.priority",
    state: "different",
  },
  {
    fault: "alter table public.messenger_messages drop constraint messenger_messages_check",
    kind: "constraint",
    object: "public.messenger_messages.messenger_messages_check",
    state: "missing",
  },
  {
    fault: "alter table messenger.attempts disable row level security",
    kind: "table",
    object: "messenger.attempts",
    state: "different",
  },
  {
    fault: "drop policy sender_reads_own on public.messenger_messages",
    kind: "policy",
    object: "public.messenger_messages.sender_reads_own",
    state: "missing",
  },
  {
    fault: "alter policy sender_reads_own on public.messenger_messages using (true)",
    kind: "policy",
    object: "public.messenger_messages.sender_reads_own",
    state: "different",
  },
  {
    fault: "drop trigger messenger_messages_updated_at on public.messenger_messages",
    kind: "trigger",
    object: "public.messenger_messages.messenger_messages_updated_at",
    state: "missing",
  },
  {
    fault: "grant select on public.messenger_messages to anon",
    kind: "grant",
    object: "relation public.messenger_messages to anon",
    state: "unexpected",
  },
  {
    fault: "grant select (last_error) on public.messenger_messages to authenticated",
    kind: "grant",
    object: "column public.messenger_messages.last_error to authenticated",
    state: "unexpected",
  },
  {
    fault: "grant execute on function public.messenger_tick(int) to public",
    kind: "grant",
    object: "function public.messenger_tick(batch integer) to public",
    state: "unexpected",
  },
  {
    fault: "revoke execute on function public.messenger_tick(int) from service_role",
    kind: "grant",
    object: "function public.messenger_tick(batch integer) to service_role",
    state: "missing",
  },
  {
    fault: "drop function public.messenger_stop()",
    kind: "function",
    object: "public.messenger_stop()",
    state: "missing",
  },
  {
    fault: "alter function public.messenger_settle(jsonb) reset search_path",
    kind: "function",
    object: "public.messenger_settle(outcomes jsonb)",
    state: "different",
  },
  {
    fault: "alter function public.messenger_settle(jsonb) security definer",
    kind: "function",
    object: "public.messenger_settle(outcomes jsonb)",
    state: "different",
  },
  {
    fault: "create or replace function messenger.now() returns timestamptz language plpgsql volatile parallel safe " +
      "set search_path = pg_catalog, pg_temp as 'begin return pg_catalog.now(); end'",
    kind: "function",
    object: "messenger.now()",
    state: "different",
  },
  {
    fault: "alter view public.messenger_queue_depth reset (security_invoker)",
    kind: "view",
    object: "public.messenger_queue_depth",
    state: "different",
  },
];

for (const { fault, kind, object, state } of drifts) {
  test(`verify · names a drift: ${fault.slice(0, 90)}`, async () => {
    const undone = new Error("undone");
    await project().sql.begin(async (tx) => {
      await tx.unsafe(fault);
      const rows = await tx`select kind, object, state, detail from messenger_verify() where kind <> 'operation'`;
      const found = rows.filter((row) => row.kind === kind && row.object === object);
      assert.deepEqual(found.map((row) => row.state), [state], JSON.stringify(rows));
      assert.ok(found[0].detail);
      assert.ok(!rows.some((row) => row.state === "ok"));
      throw undone;
    }).catch((error: unknown) => {
      if (error !== undone) throw error;
    });
  });
}
