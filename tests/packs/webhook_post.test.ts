// One POST of a webhook to a real HTTP server with bad, late, endless or missing responses.
import assert from "node:assert/strict";
import { Gone, NotAccepted, post, readRetryAfter } from "../../packs/webhook/post.ts";
import { RetryAfter } from "../../shared/errors.ts";

type Responder = (request: Request) => Response | Promise<Response>;

/** Posts to a server with this handler. */
async function posted(reply: Responder, more: { timeout?: number; signal?: AbortSignal } = {}): Promise<unknown> {
  const paths: string[] = [];
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    paths.push(new URL(request.url).pathname);
    return reply(request);
  });
  const url = new URL(`http://127.0.0.1:${server.addr.port}/hook/s3cret?key=s3cret`);
  const signal = new AbortController().signal;
  const status = await post(url, { body: "{}", headers: { a: "b" }, signal, ...more }).catch((error: unknown) => error);
  assert.deepEqual(paths, ["/hook/s3cret"], "called once");
  return status;
}

/** Like Deno.test, but without leak checks: fetch keeps its connections, and a timeout its timer, beyond the test. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeResources: false, sanitizeOps: false });
}

async function error<E extends Error>(
  kind: new (...args: never[]) => E,
  ...args: Parameters<typeof posted>
): Promise<E> {
  const error = await posted(...args);
  assert.ok(error instanceof kind, String(error));
  assert.doesNotMatch(`${error.message} ${error.stack}`, /s3cret/, "the URL may be a secret");
  return error;
}

test("post · any 2xx is accepted, whatever the body", async () => {
  const endless = new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(65_536)) });
  assert.deepEqual([
    await posted(() => new Response("thanks")),
    await posted(() => new Response(null, { status: 204 })),
  ], [200, 204]);
  assert.equal(await posted(() => new Response(endless)), 200);
});

test("post · of other responses the status and 200 characters are stored", async () => {
  const { message } = await error(NotAccepted, () => new Response("x".repeat(100_000), { status: 500 }));
  assert.match(message, /^127\.0\.0\.1:\d+ responded with 500: x{200}$/);
  const endless = new ReadableStream({ pull: (to) => to.enqueue(new TextEncoder().encode("y".repeat(1_000))) });
  assert.match((await error(NotAccepted, () => new Response(endless, { status: 400 }))).message, /y{200}$/);
});

test("post · a redirect is not followed", async () => {
  for (const status of [301, 302, 307, 308]) {
    const reply = () => new Response(null, { status, headers: { location: "/elsewhere" } });
    assert.match((await error(NotAccepted, reply)).message, new RegExp(`responded with ${status}`));
  }
});

test("post · 410 ends the subscription", async () => {
  await error(Gone, () => new Response("no more", { status: 410 }));
});

test("post · 429 and 503 are retried after their Retry-After, others by the policy", async () => {
  const headers = { "retry-after": "120" };
  for (const status of [429, 503]) {
    assert.equal((await error(RetryAfter, () => new Response(null, { status, headers }))).ms, 120_000);
    await error(NotAccepted, () => new Response(null, { status }));
    await error(NotAccepted, () => new Response(null, { status, headers: { "retry-after": "soon" } }));
  }
  await error(NotAccepted, () => new Response(null, { status: 500, headers }));
});

Deno.test("post · Retry-After is seconds or a date, never negative and at most a day", () => {
  const now = Date.parse("2026-11-21T12:00:00Z");
  assert.equal(readRetryAfter("0", now), 0);
  assert.equal(readRetryAfter("Sat, 21 Nov 2026 12:01:00 GMT", now), 60_000);
  assert.equal(readRetryAfter("Sat, 21 Nov 2026 11:00:00 GMT", now), 0);
  assert.equal(readRetryAfter("9".repeat(400), now), 86_400_000);
  for (const odd of [null, "", "-1 s", "1e3"]) assert.equal(readRetryAfter(odd, now), undefined, String(odd));
});

test("post · a receiver that does not respond in time ends the delivery", async () => {
  const { promise, resolve } = Promise.withResolvers<Response>();
  const atLast = setTimeout(() => resolve(new Response()), 5_000);
  const { message } = await error(NotAccepted, ({ signal }) => {
    signal.addEventListener("abort", () => resolve(new Response()));
    return promise;
  }, { timeout: 50 });
  clearTimeout(atLast);
  assert.match(message, /did not respond within 50 ms/);
});

test("post · a delivery that is aborted ends its POST at once, with the reason", async () => {
  const controller = new AbortController();
  const { promise, resolve } = Promise.withResolvers<Response>();
  const started = performance.now();
  const error = await posted(({ signal }) => {
    signal.addEventListener("abort", () => resolve(new Response()));
    controller.abort(new Error("the lease is lost"));
    return promise;
  }, { signal: controller.signal, timeout: 10_000 });
  assert.match(String(error), /the lease is lost/);
  const took = performance.now() - started;
  assert.ok(took < 5_000, `${took} ms: it waited for the receiver`);
});

/** The error of a POST to a URL without a receiver. */
async function unreachable(url: string): Promise<NotAccepted> {
  const signal = new AbortController().signal;
  const error = await post(new URL(url), { body: "", headers: {}, signal }).catch((error: unknown) => error);
  assert.ok(error instanceof NotAccepted, String(error));
  assert.doesNotMatch(Deno.inspect(error), /s3cret|hunter2/, "the URL may be a secret");
  return error;
}

test("post · a receiver that cannot be reached: the connection is refused", async () => {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = listener.addr;
  listener.close();
  const { message } = await unreachable(`http://me:hunter2@127.0.0.1:${port}/hook/s3cret?key=s3cret#s3cret`);
  assert.match(message, /^127\.0\.0\.1:\d+ cannot be reached: .*Connection refused/i);
});

test("post · a receiver that cannot be reached: its name is not found", async () => {
  const { message } = await unreachable("https://no-such-name.invalid/hook/s3cret?key=s3cret");
  assert.match(message, /^no-such-name\.invalid cannot be reached: dns error: /);
});

test("post · a receiver that cannot be reached: its certificate is not trusted", async () => {
  const [cert, key] = await Promise.all(
    ["certificate.pem", "key.pem"].map((name) =>
      Deno.readTextFile(new URL(`../fixtures/self_signed/${name}`, import.meta.url))
    ),
  );
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", cert, key, onListen: () => {} },
    () => assert.fail("the event was sent"),
  );
  const { message } = await unreachable(`https://127.0.0.1:${server.addr.port}/hook/s3cret?key=s3cret`);
  assert.match(message, /^127\.0\.0\.1:\d+ cannot be reached: invalid peer certificate/);
});

test("post · a receiver that closes the connection cannot be reached either", async () => {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const hangingUp = (async () => {
    for await (const connection of listener) connection.close();
  })().catch(() => {});
  const { message } = await unreachable(`http://127.0.0.1:${listener.addr.port}/hook/s3cret`);
  assert.match(message, /cannot be reached: .*(closed|reset)/);
  listener.close();
  await hangingUp;
});

test("post · a response that repeats the URL is stored without its secret parts", async () => {
  const { message } = await error(
    NotAccepted,
    ({ url }) => new Response(`Cannot POST ${url.slice(url.indexOf("/", 7))}: no s3cret here`, { status: 404 }),
  );
  assert.match(message, / responded with 404: Cannot POST \[redacted\]: no \[redacted\] here$/);
});
