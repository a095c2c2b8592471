// Compressed bodies: the supported codings, and that unread data is not decompressed.
import assert from "node:assert/strict";
import { decodedBody } from "../../../shared/http/content_coding.ts";
import { SymphonyError } from "../../../shared/errors.ts";
import { readJsonBody } from "../../../shared/http/body.ts";

const LIMIT = { bytes: 200_000, code: "SM_PAYLOAD_TOO_LARGE" } as const;
const MEGABYTE = 1024 * 1024;
const bytesOf = (text: string) => new TextEncoder().encode(text);

async function compress(bytes: Uint8Array<ArrayBuffer>, format: CompressionFormat): Promise<Uint8Array<ArrayBuffer>> {
  return await new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream(format))).bytes();
}

function post(body: BodyInit, coding: string): Request {
  const headers = { "content-type": "application/json", "content-encoding": coding };
  return new Request("http://localhost/", { method: "POST", body, headers });
}

async function rejected(request: Request, code: string, sentence: RegExp, hint: RegExp): Promise<void> {
  await assert.rejects(readJsonBody(request, LIMIT), (error) => {
    assert.ok(error instanceof SymphonyError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, sentence);
    assert.match(error.hint, hint);
    return true;
  });
}

Deno.test("content coding · gzip and deflate are decompressed, in any spelling of their names", async () => {
  const body = { text: "aé\u{1F600}".repeat(5_000), numbers: Array.from({ length: 5_000 }, (_, n) => n * 1.5) };
  const json = bytesOf(JSON.stringify(body));
  const codings: [string, CompressionFormat][] = [
    ["gzip", "gzip"],
    ["GZip", "gzip"],
    ["x-gzip", "gzip"],
    [" deflate ", "deflate"],
    ["identity, gzip", "gzip"],
  ];
  for (const [coding, format] of codings) {
    assert.deepEqual(await readJsonBody(post(await compress(json, format), coding), LIMIT), body, coding);
  }
  for (const coding of ["identity", ""]) assert.deepEqual(await readJsonBody(post(json, coding), LIMIT), body, coding);
});

Deno.test("content coding · any other is rejected by name, with a list of the supported ones", async () => {
  for (const coding of ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "constructor", "none"]) {
    const sentence = new RegExp(`content coding ${coding},`);
    await rejected(post("{}", coding), "SM_CONTENT_TYPE", sentence, /gzip and deflate/);
  }
});

Deno.test("content coding · a body that is garbled, cut off, empty or in another format is invalid", async () => {
  const json = bytesOf(JSON.stringify({ text: "some text that is long enough to be cut".repeat(10) }));
  const [gzip, raw] = [await compress(json, "gzip"), await compress(json, "deflate-raw")];
  const damaged = gzip.with(gzip.length - 6, gzip[gzip.length - 6] ^ 0xff); // in the checksum
  const bodies: [string, BodyInit, string][] = [
    ["plain JSON", json, "gzip"],
    ["cut off", gzip.subarray(0, -9), "gzip"],
    ["without its end", gzip.subarray(0, -1), "gzip"],
    ["another checksum", damaged, "gzip"],
    ["followed by more", new Blob([gzip, "{}"]), "gzip"],
    ["empty", "", "gzip"],
    ["gzip as deflate", gzip, "deflate"],
    ["deflate without the zlib wrapper", raw, "deflate"],
  ];
  for (const [, body, coding] of bodies) {
    await rejected(post(body, coding), "SM_BODY", new RegExp(`must be ${coding} data`), /Content-Encoding/);
  }
});

Deno.test("content coding · a body that expands beyond the limit is cut off before the rest is read", async () => {
  const bomb = await compress(new Uint8Array(32 * MEGABYTE), "gzip");
  let read = 0;
  let isCancelled = false;
  const source = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (read >= bomb.length) return controller.close();
      controller.enqueue(bomb.slice(read, read + 4_096));
      read += 4_096;
    },
    cancel() {
      isCancelled = true;
    },
  });
  await rejected(post(source, "gzip"), "SM_PAYLOAD_TOO_LARGE", /larger than 200000 bytes/, /200000/);
  assert.ok(read <= 4 * 4_096, `read ${read} of ${bomb.length} bytes`);
  assert.ok(isCancelled);
});

Deno.test("content coding · one chunk with a whole bomb is decompressed a slice at a time", async () => {
  const bomb = await compress(new Uint8Array(32 * MEGABYTE), "gzip");
  for await (const chunk of decodedBody(post(bomb, "gzip"))) {
    assert.ok(chunk.length < 1.1 * MEGABYTE, `${chunk.length} bytes at once`);
  }
});

Deno.test("content coding · a body whose sender disconnects is the caller's error, compressed or not", async () => {
  for (const coding of ["identity", "gzip"]) {
    const broken = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.error(new TypeError("connection reset"));
      },
    });
    await rejected(post(broken, coding), "SM_BODY", /ended before all of it/, /Content-Length/);
  }
});
