// Request bodies of real clients: compressed, chunked, with a byte order mark or a wrong length; and quoted keys.
import assert from "node:assert/strict";
import { test } from "../project.ts";
import { assertRejected, testLocally, useTarget } from "../target.ts";

const lines: string[] = [];
const { target, project } = useTarget({ log: (line: string) => void lines.push(line) });
const note = (payload: Record<string, unknown>, options = {}) =>
  JSON.stringify({ message: { type: "TestNote", payload }, options });

async function compress(text: string, format: CompressionFormat): Promise<Uint8Array<ArrayBuffer>> {
  return await new Response(new Blob([text]).stream().pipeThrough(new CompressionStream(format))).bytes();
}

function post(raw: BodyInit, headers: Record<string, string> = {}, path = "dispatch") {
  return target().call(path, { method: "POST", raw, headers: { "content-type": "application/json", ...headers } });
}

async function bodyOf(id: unknown) {
  return (await project().sql`select body from messenger_messages where id = ${String(id)}`)[0].body;
}

testLocally("dispatch bodies · gzip and deflate bodies are decompressed, chunked or not", async () => {
  const payload = { text: "é\u{1F600}".repeat(30_000) };
  for (const format of ["gzip", "deflate"] as const) {
    const body = await compress(note(payload), format);
    for (const raw of [body, new Blob([body]).stream()]) {
      const reply = await post(raw, { "content-encoding": format });
      assert.equal(reply.status, 201, JSON.stringify(reply.body));
      assert.deepEqual(await bodyOf(reply.body.messageId), payload);
    }
  }
  const messages = Array.from({ length: 1_000 }, (_, n) => ({ message: { type: "TestNote", payload: { n } } }));
  const batch = await compress(JSON.stringify({ messages }), "gzip");
  assert.equal((await post(batch, { "content-encoding": "gzip" }, "dispatch/batch")).status, 201);
});

test("dispatch bodies · limits apply to the decompressed size", async () => {
  const before = await target().countMessages();
  const payload = await compress(note({ text: "x".repeat(262_144) }), "gzip");
  assertRejected(await post(payload, { "content-encoding": "gzip" }), 413, "SM_PAYLOAD_TOO_LARGE");
  const body = await compress(" ".repeat(64 * 1024 * 1024), "gzip");
  const reply = await post(body, { "content-encoding": "gzip" });
  assert.match(assertRejected(reply, 413, "SM_PAYLOAD_TOO_LARGE"), /larger than 524288 bytes/);
  const batch = await post(body, { "content-encoding": "gzip" }, "dispatch/batch");
  assert.match(assertRejected(batch, 413, "SM_BATCH_TOO_LARGE"), /larger than 8388608 bytes/);
  assert.equal(await target().countMessages(), before);
});

test("dispatch bodies · an unsupported coding is named, and the reply lists the supported ones", async () => {
  for (const path of ["dispatch", "dispatch/batch", "worker", "scheduler", "admin/failed/retry"]) {
    const reply = await post("{}", { "content-encoding": "br" }, path);
    assert.match(assertRejected(reply, 415, "SM_CONTENT_TYPE"), /content coding br/, path);
    assert.equal(reply.headers.get("accept-encoding"), "gzip, deflate", path);
  }
  const garbled = await post(note({}), { "content-encoding": "gzip" });
  assert.match(assertRejected(garbled, 400, "SM_BODY"), /must be gzip data/);
  const charset = await post(note({}), { "content-type": "application/json; charset=utf-16" });
  assert.match(assertRejected(charset, 415, "SM_CONTENT_TYPE"), /charset utf-16/);
});

test("dispatch bodies · every edge function with a body accepts compressed ones", async () => {
  const headers = { "content-encoding": "gzip" };
  const paths = { "worker?wait=1": {}, scheduler: {}, "admin/failed/retry": { ids: [] } };
  for (const [path, json] of Object.entries(paths)) {
    const { status, body } = await post(await compress(JSON.stringify(json), "gzip"), headers, path);
    assert.equal(status, 200, `${path}: ${JSON.stringify(body)}`);
  }
  const spaced = { "content-type": 'application/json ; charset="UTF-8"' };
  for (const [path, json] of Object.entries(paths)) {
    assert.equal((await post(JSON.stringify(json), spaced, path)).status, 200);
  }
  const wrong = await post(await compress('{"nonsense":1}', "gzip"), headers, "admin/failed/retry");
  assertRejected(wrong, 400, "SM_UNKNOWN_FIELD");
});

testLocally("dispatch bodies · a byte order mark is skipped", async () => {
  const { body } = await post(`\ufeff${note({ mark: true })}`);
  assert.deepEqual(await bodyOf(body.messageId), { mark: true });
});

/**
 * Writes HTTP directly, for requests that fetch does not send; `isCutOff` closes this side of the connection after
 * `text`.
 */
async function sendRaw(headers: string[], text: string, isCutOff = false): Promise<string> {
  const { hostname, port } = new URL(target().url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const lines = ["POST /functions/v1/dispatch HTTP/1.1", `Host: ${hostname}:${port}`, `apikey: ${target().secretKey}`];
  const head = [...lines, "Content-Type: application/json", "Connection: close", ...headers].join("\r\n");
  const bytes = new TextEncoder().encode(`${head}\r\n\r\n${text}`);
  for (let sent = 0; sent < bytes.length;) sent += await connection.write(bytes.subarray(sent));
  if (isCutOff) await connection.closeWrite();
  return await new Response(connection.readable).text();
}

testLocally("dispatch bodies · with a wrong Content-Length nothing is stored", async () => {
  const before = await target().countMessages();
  const body = note({ lie: true });
  assert.match(await sendRaw([`Content-Length: ${body.length - 3}`], body), /^HTTP\/1\.1 400.*"SM_JSON"/s);
  const broken = await sendRaw([`Content-Length: ${body.length + 3}`], body, true);
  assert.doesNotMatch(broken, /^HTTP\/1\.1 2/);
  assert.equal(await target().countMessages(), before);
  assert.deepEqual(lines.filter((line) => line.includes("request failed")), [], "not an error of the edge function");
});

testLocally("dispatch bodies · a chunked body is read like any other", async () => {
  const body = note({ chunked: true });
  const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
  const text = chunk(body.slice(0, 10)) + chunk(body.slice(10)) + chunk("");
  assert.match(await sendRaw(["Transfer-Encoding: chunked"], text), /^HTTP\/1\.1 201/);
});

test("idempotency key · the quoted header of the IETF draft is the same key", async () => {
  const send = (header: string | undefined, option?: string) =>
    target().call("dispatch", {
      json: {
        message: { type: "TestNote", payload: {} },
        options: { ...(option !== undefined && { idempotencyKey: option }) },
      },
      headers: { ...(header !== undefined && { "Idempotency-Key": header }) },
    });
  const plain = crypto.randomUUID();
  const first = await send(plain);
  assert.deepEqual([first.status, first.body.idempotencyKey], [201, plain]);
  for (const [header, option] of [[`"${plain}"`], [`"${plain}"`, plain], [plain, plain], [undefined, plain]]) {
    const { status, body } = await send(header, option);
    assert.deepEqual([status, body.messageId, body.idempotencyKey], [200, first.body.messageId, plain]);
  }
  const odd = `say "hi" \\ ${plain}`;
  const quoted = await send(`"say \\"hi\\" \\\\ ${plain}"`, odd);
  assert.deepEqual([quoted.status, quoted.body.idempotencyKey], [201, odd]);
  assert.equal((await send(odd)).body.messageId, quoted.body.messageId, "without quotes nothing is unescaped");
});

test("idempotency key · a malformed header is rejected with the reason", async () => {
  const before = await target().countMessages();
  const headers: [header: string, sentence: RegExp][] = [
    ['"abc', /begins with a quote/],
    ['"abc" ;x=1', /begins with a quote/],
    ['"a", "b"', /begins with a quote/],
    ['"a\\n"', /begins with a quote/],
    ['"a"b"', /begins with a quote/],
    ['"', /begins with a quote/],
    ['""', /1 to 255 bytes/],
    ["clé", /outside ASCII/],
    ['"clé"', /outside ASCII/],
  ];
  for (const [header, sentence] of headers) {
    const json = { message: { type: "TestNote", payload: {} } };
    const reply = await target().call("dispatch", { json, headers: { "Idempotency-Key": header } });
    assert.match(assertRejected(reply, 400, "SM_IDEMPOTENCY_KEY"), sentence, header);
  }
  const json = { message: { type: "TestNote", payload: {} }, options: { idempotencyKey: "abd" } };
  const reply = await target().call("dispatch", { json, headers: { "Idempotency-Key": '"abc"' } });
  assert.match(assertRejected(reply, 400, "SM_IDEMPOTENCY_KEY"), /differ/);
  assert.equal(await target().countMessages(), before);
});
