// docs/monitoring.md lists the calls of the edge functions, and its SQL and curl command have the described effect.
import assert from "node:assert/strict";
import { dispatchAndClaim, settle } from "./supabase/bus.ts";
import { test, useProject } from "./project.ts";

const text = await Deno.readTextFile(new URL("../docs/monitoring.md", import.meta.url));
const project = useProject({ functions: true });
const blocks = (language: string) =>
  [...text.matchAll(new RegExp("^```" + language + "\\n(.*?)^```", "gms"))].map(([, code]) => code);

test("docs/monitoring.md · lists exactly the calls of the two edge functions", async () => {
  const { paths } = await (await fetch(`${project().url}/functions/v1/monitor/openapi.json`)).json();
  const called = Object.keys(paths).map((path) => path.replace(/^\/(monitor|admin)/, "").replace(/\{(\w+)\}/g, ":$1"));
  const table = text.split("\n").filter((line) => line.startsWith("| `")).map((line) => line.split(" | ")[0]).join(" ");
  const named = [...table.matchAll(/`(?:(?:GET|POST|PUT|DELETE) )?(\/[^`?]*)/g)].map(([, path]) => path);
  // "…/pause`, `/resume`" names the sibling by its last segment.
  const full = named.map((path, at) => path === "/resume" ? named[at - 1].replace(/\/pause$/, "/resume") : path);
  assert.deepEqual([...new Set(full)].sort(), [...new Set(called)].sort());
});

test("docs/monitoring.md · its SQL gives a user the role, and the token then opens the edge functions", async () => {
  const { sql } = project();
  const id = crypto.randomUUID();
  await sql`insert into auth.users (id, email) values (${id}, 'ada@example.com')`;
  for (const statement of blocks("sql")) await sql.unsafe(statement);
  const [{ raw_app_meta_data }] = await sql`select raw_app_meta_data from auth.users where id = ${id}`;
  const token = await project().signUser({ sub: id, app_metadata: raw_app_meta_data });
  const reply = await fetch(`${project().url}/functions/v1/monitor/status`, {
    headers: { authorization: `Bearer ${token}` },
  });
  assert.equal(reply.status, 200, await reply.text());
});

test("docs/monitoring.md · its curl command retries the named dead letters", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e", error_class: "Timeout", retryable: false }]);
  const [line] = blocks("sh").filter((code) => code.startsWith("curl "));
  const { code, stdout } = await new Deno.Command("bash", {
    args: ["-c", line],
    env: { SUPABASE_URL: project().url, SUPABASE_SECRET_KEY: project().secretKey },
  }).output();
  const reply = JSON.parse(new TextDecoder().decode(stdout));
  assert.deepEqual([code, reply.success, reply.retried], [0, true, 1]);
});
