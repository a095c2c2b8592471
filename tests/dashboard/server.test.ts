// The dashboard's server: it serves only its own page, on loopback, and never reveals the key.
import assert from "node:assert/strict";
import { createAccess } from "../../dashboard/access.ts";
import { bundle } from "../../dashboard/bundle.ts";
import { findProject, NoProject } from "../../dashboard/project.ts";
import { createServer } from "../../dashboard/server.ts";
import { withoutWaiting } from "../timers.ts";

const PROJECT = { url: "http://127.0.0.1:9", secretKey: "sb_secret_never_to_be_seen" };
const HOST = "127.0.0.1:24330";
const page = await bundle();
const access = createAccess();
const app = await createServer(PROJECT, page, access, () => [HOST, "localhost:24330"]);
const SIGNED_IN = { cookie: `symphony_dashboard_24330=${access.signIn(access.token)}` };

function request(path: string, headers: Record<string, string> = {}, method = "GET") {
  const url = `http://${headers.host ?? HOST}${path}`;
  return app.request(url, { method, headers: { host: HOST, ...SIGNED_IN, ...headers } });
}
const OURS = { "x-symphony-dashboard": "1", "sec-fetch-site": "same-origin" };

Deno.test("dashboard · the page has one document, script and style sheet; its policy allows no others", async () => {
  for (
    const [path, type] of [["/", "text/html"], ["/app.js", "text/javascript"], ["/app.css", "text/css"], [
      "/icon.svg",
      "image/svg",
    ]]
  ) {
    const reply = await request(path);
    assert.equal(reply.status, 200, path);
    assert.ok(reply.headers.get("content-type")?.startsWith(type), path);
    assert.match(
      reply.headers.get("content-security-policy") ?? "",
      /default-src 'none'; script-src 'self'; style-src 'self';/,
    );
    assert.doesNotMatch(reply.headers.get("content-security-policy") ?? "", /unsafe/);
    assert.equal(reply.headers.get("x-content-type-options"), "nosniff");
    assert.equal(reply.headers.get("access-control-allow-origin"), null);
  }
});

Deno.test("dashboard · the script is smaller than 200 KB", () => {
  const bytes = new TextEncoder().encode(page.script).length;
  assert.ok(bytes < 200_000, `${bytes} bytes`);
});

// Each differs from a request that passes in one thing only.
for (
  const [what, headers] of [
    ["a name that was rebound to loopback", { ...OURS, host: "evil.example:24330" }],
    ["loopback at another port", { ...OURS, host: "127.0.0.1:80" }],
    ["a page of another origin", { ...OURS, origin: "https://evil.example" }],
    ["a page of another port of this machine", { ...OURS, origin: "http://127.0.0.1:3000" }],
    ["another site's script", { ...OURS, "sec-fetch-site": "cross-site" }],
    ["a script of another port, which sends no origin", { ...OURS, "sec-fetch-site": "same-site" }],
    ["the page under its other name", { ...OURS, host: "localhost:24330", origin: `http://${HOST}` }],
    ["a page without an origin", { ...OURS, origin: "null" }],
    ["a form, which can set no header", { "sec-fetch-site": "same-origin" }],
  ] as [string, Record<string, string>][]
) {
  Deno.test(`dashboard · rejects ${what}`, async () => {
    for (const [method, path] of [["GET", "/monitor/status"], ["POST", "/admin/queues/supabase/default/pause"]]) {
      const reply = await request(path, headers, method);
      assert.equal(reply.status, 403, `${method} ${path}`);
      await reply.body?.cancel();
    }
  });
}

Deno.test("dashboard · its own page is not rejected, under either host name", async () => {
  for (const host of [HOST, "localhost:24330"]) {
    const ways: Record<string, string>[] = [{}, { origin: `http://${host}` }, { "sec-fetch-site": "none" }];
    for (const more of ways) {
      const reply = await request("/monitor/status", { ...OURS, host, ...more });
      assert.equal(reply.status, 503, "it is forwarded to the project, which cannot be reached");
      await reply.body?.cancel();
    }
  }
});

Deno.test("dashboard · an unreachable project is a 503 with a hint, and no response contains the key", async () => {
  const replies = await Promise.all([
    request("/"),
    request("/app.js"),
    request("/app.css"),
    request("/monitor/status", OURS),
    request("/admin/failed/retry", OURS, "POST"),
    request("/keys.json"),
    request("/monitor/../keys.json", OURS),
    request("/.symphony/project/keys.json"),
  ]);
  for (const reply of replies) {
    const text = JSON.stringify([...reply.headers]) + await reply.text();
    assert.ok(!text.includes(PROJECT.secretKey), text.slice(0, 200));
  }
  assert.deepEqual(replies.slice(3, 5).map(({ status }) => status), [503, 503]);
  const { error } = await (await request("/monitor/status", OURS)).json();
  assert.deepEqual([error.code, error.message], [
    "SM_UNAVAILABLE",
    "The project at http://127.0.0.1:9 cannot be reached.",
  ]);
  assert.match(error.hint, /npm start/);
});

Deno.test("dashboard · the project gets the key, and none of the browser's headers", async () => {
  const seen: { path: string; headers: Headers }[] = [];
  await using app = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    seen.push({ path: request.url.slice(request.url.indexOf("/", 8)), headers: new Headers(request.headers) });
    return Response.json({ ok: true }, { headers: { "set-cookie": "a=b", "x-request-id": "r" } });
  });
  const upstream = { ...PROJECT, url: `http://127.0.0.1:${app.addr.port}` };
  const own = await createServer(upstream, page, access, () => [HOST]);
  const reply = await own.request(`http://${HOST}/monitor/messages?type=A&limit=5`, {
    headers: { host: HOST, ...SIGNED_IN, authorization: "Bearer x", ...OURS },
  });
  assert.deepEqual([await reply.json(), reply.headers.get("set-cookie"), reply.headers.get("x-request-id")], [
    { ok: true },
    null,
    "r",
  ]);
  const [request] = seen;
  assert.equal(
    request.path,
    "/functions/v1/monitor/messages?type=A&limit=5",
  );
  assert.deepEqual(
    ["apikey", "cookie", "authorization"].map((name) => request.headers.get(name)),
    [PROJECT.secretKey, null, null],
  );
});

/** The status and error of /monitor/status where `reply` is the project's. */
async function throughProject(reply: (request: Request) => Response | Promise<Response>) {
  await using project = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, reply);
  const own = await createServer(
    { ...PROJECT, url: `http://127.0.0.1:${project.addr.port}` },
    page,
    access,
    () => [HOST],
  );
  const response = await own.request(`http://${HOST}/monitor/status`, {
    headers: { host: HOST, ...SIGNED_IN, ...OURS },
  });
  const text = await response.text();
  return { status: response.status, error: text ? JSON.parse(text).error : undefined };
}

/** Like Deno.test; fetch keeps its connections beyond the test. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `dashboard · ${name}`, fn, sanitizeResources: false, sanitizeOps: false });
}

test("a redirect of the project is not followed, so the key reaches no other server", async () => {
  let followed = false;
  await using elsewhere = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    followed = true;
    return Response.json({});
  });
  const location = `http://127.0.0.1:${elsewhere.addr.port}/`;
  const { status } = await throughProject(() => new Response(null, { status: 302, headers: { location } }));
  assert.deepEqual([status, followed], [302, false]);
});

test("a project that hangs is a 503 after 15 seconds", async () => {
  const hang = ({ signal }: Request) =>
    new Promise<Response>((resolve) => signal.addEventListener("abort", () => resolve(new Response())));
  const { status, error } = await withoutWaiting(15_000, () => throughProject(hang));
  assert.equal(status, 503);
  assert.deepEqual([error.code, error.message], ["SM_UNAVAILABLE", "The project did not respond within 15 seconds."]);
});

Deno.test("dashboard · no spelling of an address reaches another edge function of the project", async () => {
  const seen: string[] = [];
  await using app = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    seen.push(new URL(request.url).pathname);
    return Response.json({});
  });
  const hosts: string[] = [];
  const upstream = { ...PROJECT, url: `http://127.0.0.1:${app.addr.port}` };
  const own = await createServer(upstream, page, access, () => hosts);
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, own.fetch);
  hosts.push(`127.0.0.1:${server.addr.port}`);
  const cookie = `symphony_dashboard_${server.addr.port}=${access.signIn(access.token)}`;
  const spellings = [
    "/monitor/../dispatch",
    "/monitor/%2e%2e/dispatch",
    "/admin/x/%2E%2e/../dispatch",
    "/monitor/./status",
  ];
  for (const path of spellings) {
    // fetch would fix the path before it leaves.
    using socket = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
    const head = [
      `GET ${path} HTTP/1.1`,
      `host: ${hosts[0]}`,
      `cookie: ${cookie}`,
      "x-symphony-dashboard: 1",
      "connection: close",
    ];
    await socket.write(new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n`));
    const reply = await new Response(socket.readable).text();
    assert.match(reply, path.endsWith("status") ? /^HTTP\/1.1 200/ : /^HTTP\/1.1 404/, path);
  }
  assert.deepEqual(seen, ["/functions/v1/monitor/status"]);
});

Deno.test("dashboard · finds the project in the environment, else that of npm start", async () => {
  const folder = `${await Deno.makeTempDir()}/`;
  try {
    const env = (values: Record<string, string>) => (name: string) => values[name];
    await assert.rejects(
      findProject(env({}), folder),
      (error: Error) => error instanceof NoProject && /npm start/.test(error.message),
    );
    await assert.rejects(findProject(env({ SUPABASE_URL: "https://x" }), folder), /Set both/);
    assert.deepEqual(
      await findProject(env({ SUPABASE_URL: "https://x.supabase.co/", SUPABASE_SECRET_KEY: "k" }), folder),
      { url: "https://x.supabase.co", secretKey: "k" },
    );
    const secret = "sb_secret_hunter2";
    for (
      const [SUPABASE_URL, SUPABASE_SECRET_KEY, sentence] of [
        [secret, "https://x.supabase.co", /SUPABASE_URL must be an http or https address/],
        ["postgres://x", secret, /SUPABASE_URL must be an http or https address/],
        ["https://me:hunter2@x.supabase.co", secret, /SUPABASE_URL must be .* without user name/],
        ["https://x.supabase.co?key=hunter2", secret, /SUPABASE_URL must be .* without .* query/],
        ["https://x.supabase.co", `${secret}\n`, /SUPABASE_SECRET_KEY must be one key/],
      ] as const
    ) {
      await assert.rejects(findProject(env({ SUPABASE_URL, SUPABASE_SECRET_KEY }), folder), (error: Error) => {
        assert.ok(error instanceof NoProject);
        assert.match(error.message, sentence);
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      });
    }
    await Deno.writeTextFile(`${folder}keys.json`, '{"secretKey":"s"}');
    const started = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => new Response("hello"));
    const url = `http://127.0.0.1:${started.addr.port}`;
    await Deno.writeTextFile(`${folder}running.json`, JSON.stringify({ url }));
    assert.deepEqual(await findProject(env({}), folder), { url, secretKey: "s" });
    await started.shutdown(); // as a start that was killed, which leaves its file behind
    await assert.rejects(findProject(env({}), folder), NoProject);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
