// Sign-in to the dashboard: the printed address works once and sets a cookie; requests without the cookie are rejected.
import assert from "node:assert/strict";
import { createAccess } from "../../dashboard/access.ts";
import { createServer } from "../../dashboard/server.ts";
import { gate } from "../gates/gate.ts";
import { missing, useDashboard } from "./browser.ts";

const HOST = "127.0.0.1:24330";
const OURS = { "x-symphony-dashboard": "1", "sec-fetch-site": "same-origin" };
const page = { script: "script()", style: "style{}" };

/** A dashboard in front of a project that records its requests. */
async function setUp() {
  const upstream: { url: string; headers: Headers }[] = [];
  const project = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    upstream.push({ url: request.url, headers: new Headers(request.headers) });
    return Response.json({ ok: true });
  });
  const url = `http://127.0.0.1:${project.addr.port}`;
  const printed: string[] = [];
  const access = createAccess(({ token }) => printed.push(token));
  const app = await createServer({ url, secretKey: "sb_secret_x" }, page, access, () => [HOST, "127.0.0.1:24331"]);
  const request = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    app.request(`http://${headers.host ?? HOST}${path}`, { method, headers: { host: HOST, ...headers } });
  const signIn = async (token = access.token) => cookieOf(await request(`/?token=${token}`));
  return { access, upstream, printed, request, signIn, [Symbol.asyncDispose]: () => project.shutdown() };
}

function cookieOf(reply: Response): string {
  assert.equal(reply.status, 303);
  const [cookie] = reply.headers.get("set-cookie")?.split(";") ?? [];
  return cookie;
}

const PATHS = ["/", "/app.js", "/app.css", "/icon.svg", "/keys.json", "/monitor/status", "/monitor/openapi.json"];

Deno.test("sign-in · without the cookie every request gets 401, and none reaches the project", async () => {
  await using dashboard = await setUp();
  const { request, access, upstream } = dashboard;
  const wrong: Record<string, string>[] = [
    {},
    { cookie: `symphony_dashboard_24330=${"x".repeat(43)}` },
    { cookie: `symphony_dashboard_24330=${access.token}` },
  ];
  for (const headers of wrong) {
    for (const path of PATHS) {
      const reply = await request(path, { ...OURS, ...headers });
      assert.equal(reply.status, 401, path);
      assert.match(await reply.text(), /npm run dashboard(<\/code>)? printed/, path);
      assert.match(reply.headers.get("content-security-policy") ?? "", /default-src 'none'/);
    }
    for (const [method, path] of [["POST", "/admin/failed/retry"], ["DELETE", "/admin/schedules/a"], ["PUT", "/"]]) {
      const reply = await request(path, { ...OURS, ...headers }, method);
      assert.equal(reply.status, 401, `${method} ${path}`);
      await reply.body?.cancel();
    }
  }
  assert.equal(upstream.length, 0);
  const { error } = await (await request("/monitor/status", OURS)).json();
  assert.equal(error.code, "SM_UNAUTHENTICATED");
});

Deno.test("sign-in · the printed address sets a protected cookie and redirects to one without the token", async () => {
  await using dashboard = await setUp();
  const { request, access, upstream } = dashboard;
  const { token } = access;
  const reply = await request(`/?token=${token}`, { "sec-fetch-site": "none" });
  assert.deepEqual([reply.status, reply.headers.get("location")], [303, "/"]);
  assert.equal(reply.headers.get("referrer-policy"), "no-referrer");
  assert.equal(reply.headers.get("cache-control"), "no-store");
  const [pair, ...attributes] = reply.headers.get("set-cookie")?.split("; ") ?? [];
  assert.match(pair, /^symphony_dashboard_24330=[\w-]{43}$/);
  assert.deepEqual(attributes.sort(), ["HttpOnly", "Path=/", "SameSite=Strict"]);
  assert.ok(!(JSON.stringify([...reply.headers]) + await reply.text()).includes(token));
  const forwarded = await request("/monitor/status?limit=1", { ...OURS, cookie: pair });
  assert.deepEqual([forwarded.status, await forwarded.json()], [200, { ok: true }]);
  const [{ url, headers }] = upstream;
  assert.ok(!(url + JSON.stringify([...headers])).includes(token));
  assert.deepEqual([headers.get("cookie"), headers.get("referer")], [null, null]);
});

Deno.test("sign-in · an address works once; the next one is printed and signs in another browser", async () => {
  await using dashboard = await setUp();
  const { request, access, printed, signIn } = dashboard;
  const { token } = access;
  const first = await signIn(token);
  assert.equal((await request(`/?token=${token}`)).status, 401);
  assert.deepEqual([printed.length, printed[0], printed[0] === token], [1, access.token, false]);
  const second = await signIn(printed[0]);
  assert.notEqual(first, second);
  for (const cookie of [first, second]) assert.equal((await request("/", { cookie })).status, 200);
});

Deno.test("sign-in · if several browsers open one address at the same time, one is signed in", async () => {
  await using dashboard = await setUp();
  const { request, access: { token } } = dashboard;
  const replies = await Promise.all([1, 2, 3].map(() => request(`/?token=${token}`)));
  assert.deepEqual(replies.map(({ status }) => status).sort(), [303, 401, 401]);
});

Deno.test("sign-in · a wrong token, a HEAD request or another path does not use the address", async () => {
  await using dashboard = await setUp();
  const { request, access, printed } = dashboard;
  const { token } = access;
  const other = `${token.slice(0, -1)}${token.endsWith("A") ? "E" : "A"}`;
  for (const path of ["/?token=", `/?token=${other}`, `/?Token=${token}`, `/app.js?token=${token}`]) {
    assert.equal((await request(path)).status, 401, path);
  }
  for (const method of ["HEAD", "POST"]) assert.equal((await request(`/?token=${token}`, {}, method)).status, 401);
  assert.deepEqual([access.token, printed], [token, []]);
});

Deno.test("sign-in · a browser that is signed in does not use another address", async () => {
  await using dashboard = await setUp();
  const { request, access, signIn } = dashboard;
  const cookie = await signIn();
  const { token } = access;
  const reply = await request(`/?token=${token}`, { cookie });
  assert.deepEqual([reply.status, reply.headers.get("location"), access.token], [303, "/", token]);
});

Deno.test("sign-in · a rebound name and another site's script are rejected despite the cookie", async () => {
  await using dashboard = await setUp();
  const { request, signIn, upstream, access } = dashboard;
  const cookie = await signIn();
  const { token } = access;
  const strange: Record<string, string>[] = [
    { host: "evil.example:24330" },
    { origin: "http://evil.example:24330" },
    { "sec-fetch-site": "cross-site" },
  ];
  for (const headers of strange) {
    assert.equal((await request("/monitor/status", { ...OURS, cookie, ...headers })).status, 403);
  }
  assert.equal((await request(`/?token=${token}`, { host: "evil.example:24330" })).status, 403);
  assert.deepEqual([upstream.length, access.token], [0, token]);
});

Deno.test("sign-in · two dashboards on one machine have separate cookies", async () => {
  await using dashboard = await setUp();
  const { request, signIn, access } = dashboard;
  const here = await signIn();
  const there = cookieOf(await request(`/?token=${access.token}`, { host: "127.0.0.1:24331" }));
  assert.match(there, /^symphony_dashboard_24331=/);
  for (const host of [HOST, "127.0.0.1:24331"]) {
    assert.equal((await request("/", { host, cookie: `${here}; ${there}` })).status, 200, host);
  }
});

Deno.test("sign-in · npm run dashboard prints the address, then the next one, and never the key", async () => {
  const key = "sb_secret_never_to_be_printed";
  const program = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("../../dashboard/serve.ts", import.meta.url).pathname],
    env: { SUPABASE_URL: "http://127.0.0.1:9", SUPABASE_SECRET_KEY: key, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const noise = new Response(program.stderr).text();
  const output = linesOf(program.stdout);
  try {
    const visit = async (address: string) => {
      const reply = await fetch(address, { redirect: "manual" });
      await reply.body?.cancel();
      return reply;
    };
    const first = await output.address();
    const reply = await visit(first);
    assert.equal(reply.status, 303);
    const next = await output.address();
    assert.notEqual(next, first);
    assert.equal((await visit(first)).status, 401);
    const call = await fetch(new URL("/monitor/status", first), { headers: { ...OURS, cookie: cookieOf(reply) } });
    assert.equal((await call.json()).error.code, "SM_UNAVAILABLE", "nothing listens at the project's address");
    assert.equal((await visit(next)).status, 303);
    await output.address();
  } finally {
    program.kill("SIGTERM");
    await program.status;
    await output.cancel();
  }
  assert.ok(!(output.text() + await noise).includes(key), output.text());
});

/** The output of a program, read until it has printed one more address. */
function linesOf(stdout: ReadableStream<Uint8Array<ArrayBuffer>>) {
  const reader = stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let seen = 0;
  return {
    text: () => text,
    cancel: () => reader.cancel(),
    async address(): Promise<string> {
      for (;;) {
        const addresses = [...text.matchAll(/^ {2}(http:\S+)\n/gm)].map(([, address]) => address)
          .filter((address) => address.includes("token="));
        if (addresses.length > seen) return addresses[seen++];
        const { value, done } = await reader.read();
        assert.ok(!done, `the program ended: ${text}`);
        text += decoder.decode(value, { stream: true });
      }
    },
  };
}

const { dashboard } = useDashboard();
const inBrowser = (name: string, fn: () => Promise<void>) => gate(`sign-in · ${name}`, missing, fn);

inBrowser("a browser opens the printed address and stays signed in, and the token is stored nowhere", async () => {
  const address = dashboard().address("#/failed");
  const token = new URL(address).searchParams.get("token") ?? assert.fail("no token");
  await using opened = await dashboard().openSignedOut();
  const { page } = opened;
  await page.getByRole("heading", { name: "This browser is not signed in" }).waitFor();
  await page.goto(address);
  await page.getByRole("heading", { name: "Dead letters" }).first().waitFor();
  assert.equal(page.url(), `${dashboard().url}/#/failed`);
  assert.deepEqual(await page.evaluate(() => [document.cookie, document.referrer]), ["", ""]);
  const stored = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
  assert.ok(!stored.includes(token), stored);
  await page.reload();
  await page.getByRole("heading", { name: "Dead letters" }).first().waitFor();
  await page.goto(address); // a bookmark of it, or a second click in the terminal
  await page.getByRole("heading", { name: "Dead letters" }).first().waitFor();
  assert.ok(!page.url().includes(token));
  assert.deepEqual(opened.complaints, []);
});

inBrowser("a page that has lost its session shows the next step", async () => {
  await using opened = await dashboard().open();
  const { page } = opened;
  await page.getByRole("link", { name: "Dead letters" }).waitFor();
  await page.context().clearCookies();
  const alert = page.getByRole("alert");
  await alert.waitFor();
  assert.match(await alert.textContent() ?? "", /not signed in.*npm run dashboard printed/s);
});

inBrowser(
  "a link to the printed address on another site signs in, from the next click on",
  async () => {
    const address = dashboard().address();
    await using other = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response(`<a href="${address}">dashboard</a>`, { headers: { "content-type": "text/html" } }),
    );
    await using opened = await dashboard().openSignedOut();
    const { page } = opened;
    await page.goto(`http://localhost:${other.addr.port}/`);
    await page.getByRole("link", { name: "dashboard" }).click();
    await page.getByRole("link", { name: "Try again" }).click();
    await page.getByRole("link", { name: "Dead letters" }).waitFor();
    assert.deepEqual(opened.complaints, []);
  },
);
