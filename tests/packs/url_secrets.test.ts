// Redaction of a webhook's URL in texts.
import assert from "node:assert/strict";
import { withoutSecrets } from "../../packs/webhook/url_secrets.ts";

const url = new URL("https://ada:hunter2hunter2@hooks.example.com:8443/v1/T0K%2FEN-1234/x?key=pa%20ss-5678&n=1#part");

Deno.test("url secrets · user name, password, path and query are removed, the origin is kept", () => {
  assert.equal(
    withoutSecrets(`no route to ${url.href}`, url),
    "no route to https://[redacted]hooks.example.com:8443[redacted]#part",
  );
});

Deno.test("url secrets · a token alone is removed, too, encoded or decoded", () => {
  for (const token of ["hunter2hunter2", "T0K%2FEN-1234", "T0K/EN-1234", "pa%20ss-5678", "pa ss-5678"]) {
    assert.equal(withoutSecrets(`it was ${token}.`, url), "it was [redacted].", token);
  }
});

Deno.test("url secrets · short words of the path stay readable elsewhere", () => {
  const plain = new URL("https://hooks.example.com/v1/x?n=1");
  assert.equal(withoutSecrets("v1 is gone, use x.example/v2?n=2", plain), "v1 is gone, use x.example/v2?n=2");
});

Deno.test("url secrets · a URL without a path, or with one that is not percent-encoded UTF-8, causes no error", () => {
  assert.equal(withoutSecrets("1 / 2 ?", new URL("https://hooks.example.com")), "1 / 2 ?");
  assert.equal(withoutSecrets("at %ff-token", new URL("https://hooks.example.com/%ff-token")), "at [redacted]");
});
