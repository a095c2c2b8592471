// The caller of a request by its token: claims that limit a token's life, and settings that limit accepted tokens.
import assert from "node:assert/strict";
import { CompactSign, exportJWK, generateKeyPair } from "jose";
import { authorizeWorker, type Caller, identify, type Keys } from "../../../shared/http/auth.ts";
import { readEnv } from "../../../shared/env.ts";
import { SymphonyError } from "../../../shared/errors.ts";

const SECRET_KEY = "sb_secret_of_these_tests";
const NOW = Math.floor(Date.now() / 1_000);
const HOUR = 3_600;
const USER = { sub: "3a6c3f0e-5b0f-4d8e-9f43-6a1f0a4a2b10", role: "authenticated", exp: NOW + HOUR };

const { privateKey, publicKey } = await generateKeyPair("ES256");
const foreign = await generateKeyPair("ES256");

const keysWith = async (settings: Record<string, string> = {}): Promise<Keys> =>
  readEnv({
    SUPABASE_URL: "https://project.supabase.co",
    SUPABASE_SECRET_KEYS: JSON.stringify({ default: SECRET_KEY }),
    SUPABASE_JWKS: JSON.stringify({ keys: [{ ...await exportJWK(publicKey), alg: "ES256", kid: "k" }] }),
    ...settings,
  });

/** A token with this payload, an object or JSON text, unchanged. */
function sign(payload: Record<string, unknown> | string, key = privateKey): Promise<string> {
  const text = typeof payload === "string" ? payload : JSON.stringify(payload);
  return new CompactSign(new TextEncoder().encode(text)).setProtectedHeader({ alg: "ES256", typ: "JWT", kid: "k" })
    .sign(key);
}

const callWith = (headers: Record<string, string>) =>
  new Request("https://project.supabase.co/functions/v1/dispatch", { method: "POST", headers });

async function callerOf(
  payload: Record<string, unknown> | string,
  settings?: Record<string, string>,
  key?: typeof privateKey,
): Promise<Caller> {
  const authorization = `Bearer ${await sign(payload, key)}`;
  return await identify(callWith({ authorization }), await keysWith(settings));
}

async function rejected(work: Promise<unknown>): Promise<SymphonyError> {
  const error = await work.then(() => undefined, (error: unknown) => error);
  assert.ok(error instanceof SymphonyError, `rejected, not ${String(error)}`);
  assert.deepEqual([error.code, error.status], ["SM_UNAUTHENTICATED", 401]);
  return error;
}

Deno.test("auth · a token with exp, sub and role is a user's, whatever else it contains", async () => {
  const odd = { nbf: NOW - 1, iat: -5, iss: 7, aud: { a: 1 }, jti: null };
  for (const more of [{}, odd, { iat: NOW + 20 }, { exp: NOW + HOUR + 0.5 }, { exp: 4_000_000_000 }]) {
    const caller = await callerOf({ ...USER, ...more });
    assert.equal(caller.kind === "user" && caller.claims.sub, USER.sub, JSON.stringify(more));
  }
  assert.deepEqual(await callerOf({ ...USER, role: "service_role" }), { kind: "service" });
});

Deno.test("auth · a subject of any form is an identity", async () => {
  for (const sub of ["user_2abcDEF", "auth0|507f1f77bcf86cd799439011", "k7R2Xw9TzYf0", "1"]) {
    const caller = await callerOf({ ...USER, sub });
    assert.equal(caller.kind === "user" && caller.claims.sub, sub);
  }
});

const WRONG: [what: string, claims: Record<string, unknown> | string, sentence: RegExp][] = [
  ["no exp", { exp: undefined }, /has no exp claim, so it would never expire/],
  ["exp null", { exp: null }, /exp claim .* must be a number of seconds/],
  ["exp as text", { exp: String(NOW + HOUR) }, /exp claim .* must be a number of seconds/],
  ["exp as a list", { exp: [NOW + HOUR] }, /exp claim .* must be a number of seconds/],
  ["exp in milliseconds", { exp: (NOW + HOUR) * 1_000 }, /exp claim .* before the year 10000/],
  [
    "exp out of range",
    `{"sub":"${USER.sub}","role":"authenticated","exp":1e999}`,
    /exp claim .* before the year 10000/,
  ],
  ["exp in the past", { exp: NOW - 60 }, /has expired/],
  ["exp zero", { exp: 0 }, /has expired/],
  ["exp before the year -10000", { exp: -1e300 }, /exp claim .* must be a number of seconds/],
  ["nbf in the future", { nbf: NOW + HOUR }, /not valid yet: see its nbf claim/],
  ["nbf as text", { nbf: "now" }, /nbf claim .* must be a number of seconds/],
  ["nbf in milliseconds", { nbf: NOW * 1_000 }, /nbf claim .* must be a number of seconds/],
  ["iat in the future", { iat: NOW + HOUR }, /issued in the future: see its iat claim/],
  ["iat as text", { iat: "yesterday" }, /iat claim .* must be a number of seconds/],
  ["iat in milliseconds", { iat: NOW * 1_000 }, /iat claim .* must be a number of seconds/],
  ["an empty sub", { sub: "" }, /sub claim .* is empty/],
  ["a blank sub", { sub: " \t" }, /sub claim .* is empty/],
  ["no sub", { sub: undefined }, /not valid/],
  ["a number as sub", { sub: 5 }, /not valid/],
  ["the role anon", { role: "anon" }, /role must be authenticated/],
];
for (const [what, claims, sentence] of WRONG) {
  Deno.test(`auth · a token with ${what} is rejected, and the message names the cause`, async () => {
    const payload = typeof claims === "string" ? claims : { ...USER, ...claims };
    const { message, hint } = await rejected(callerOf(payload));
    assert.match(message, sentence);
    assert.ok(hint);
    if (typeof payload === "string" || what.includes("role")) return;
    await rejected(callerOf({ ...payload, role: "service_role" }));
  });
}

Deno.test("auth · a token that cannot be verified is rejected, with the cause that its claims show", async () => {
  assert.match((await rejected(callerOf(USER, {}, foreign.privateKey))).message, /signed with another key/);
  const late = await rejected(callerOf({ ...USER, exp: NOW - 60 }, {}, foreign.privateKey));
  assert.match(late.message, /has expired/);
  for (const token of ["a.b.c", `${btoa('{"alg":"ES256","kid":"k"}')}.bnVsbA.x`, "a..b", "garbled"]) {
    const error = await rejected(identify(callWith({ authorization: `Bearer ${token}` }), await keysWith()));
    assert.match(error.message, /malformed, or signed with another key/, token);
  }
});

Deno.test("auth · a good key never makes up for a bad token, in any spelling of the scheme", async () => {
  const keys = await keysWith();
  for (const scheme of ["Bearer", "bearer", "BEARER"]) {
    const headers = { authorization: `${scheme} a.b.c`, apikey: SECRET_KEY };
    await rejected(identify(callWith(headers), keys));
    await rejected(authorizeWorker(callWith(headers), keys, { matches: () => assert.fail("a JWT was checked") }));
    const good = await identify(callWith({ authorization: `${scheme} ${await sign(USER)}` }), keys);
    assert.equal(good.kind, "user");
  }
});

const ISSUER = "https://project.supabase.co/auth/v1";

Deno.test("auth · with SYMPHONY_JWT_ISSUER the iss claim must equal it, otherwise it is ignored", async () => {
  const settings = { SYMPHONY_JWT_ISSUER: ISSUER };
  assert.equal((await callerOf({ ...USER, iss: ISSUER }, settings)).kind, "user");
  assert.equal((await callerOf({ ...USER, iss: "https://elsewhere.example" })).kind, "user");
  for (const iss of [undefined, null, "", "https://elsewhere.example", `${ISSUER}/`, ISSUER.toUpperCase(), [ISSUER]]) {
    for (const role of ["authenticated", "service_role"]) {
      const { message, hint } = await rejected(callerOf({ ...USER, role, iss }, settings));
      assert.match(message, /another issuer/, JSON.stringify(iss));
      assert.match(hint, /SYMPHONY_JWT_ISSUER/);
    }
  }
});

Deno.test("auth · with SYMPHONY_JWT_AUDIENCE the aud claim must contain it, otherwise it is ignored", async () => {
  const settings = { SYMPHONY_JWT_AUDIENCE: "orders" };
  for (const aud of ["orders", ["orders"], ["web", "orders", 7]]) {
    assert.equal((await callerOf({ ...USER, aud }, settings)).kind, "user", JSON.stringify(aud));
  }
  assert.equal((await callerOf({ ...USER, aud: "web" })).kind, "user");
  for (const aud of [undefined, null, "", "Orders", "my orders", [], ["web"], [["orders"]], { orders: true }]) {
    for (const role of ["authenticated", "service_role"]) {
      const { message, hint } = await rejected(callerOf({ ...USER, role, aud }, settings));
      assert.match(message, /another audience/, JSON.stringify(aud));
      assert.match(hint, /SYMPHONY_JWT_AUDIENCE/);
    }
  }
});

Deno.test("auth · secret keys are no tokens: the settings do not apply to them", async () => {
  const keys = await keysWith({ SYMPHONY_JWT_ISSUER: ISSUER, SYMPHONY_JWT_AUDIENCE: "orders" });
  const ways: Record<string, string>[] = [{ apikey: SECRET_KEY }, { authorization: `Bearer ${SECRET_KEY}` }];
  for (const headers of ways) assert.deepEqual(await identify(callWith(headers), keys), { kind: "service" });
});
