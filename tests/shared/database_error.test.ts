// Failed database calls: whose mistake they are, and whether the same call may succeed later.
import assert from "node:assert/strict";
import { type Credential, fromElement, fromPostgrest } from "../../shared/database_error.ts";
import { connect, connectionOf } from "../../shared/db.ts";
import { SymphonyError } from "../../shared/errors.ts";

const CREDENTIALS: Credential[] = ["caller", "user", "deployment"];
const failed = (
  code: string,
  status = 400,
  message = "a sentence in any language",
  of: Credential = "deployment",
) => fromPostgrest({ code, message, details: null, hint: null }, status, of);

Deno.test("database errors · an error of the bus keeps its code, message and hint", () => {
  const failure = {
    code: "PT409",
    message: "another worker has it",
    details: "SM_STALE_LEASE",
    hint: "undo your work",
  };
  const { code, status, message, hint } = fromPostgrest(failure, 409, "user");
  assert.deepEqual([code, status, message, hint], ["SM_STALE_LEASE", 409, "another worker has it", "undo your work"]);
});

Deno.test("database errors · errors of a trigger, auth.uid() or business code are never the caller's mistake", () => {
  const raised = ["22P02", "22P05", "22003", "22007", "22008", "22015", "22021", "54000", "54001", "23514", "23505"]
    .concat("P0001", "PT422", "PT503", "42501", "42703", "42883", "42P01", "3F000", "08P01", "58P01", "XX000", "57P04");
  for (const credential of CREDENTIALS) {
    for (const code of raised) {
      const error = failed(code, 400, 'invalid input syntax for type uuid: "user_2abc"', credential);
      assert.deepEqual([error.code, error.status], ["SM_INTERNAL", 500], code);
      assert.doesNotMatch(error.message + error.hint, /user_2abc|uuid/, "its message is only logged");
      assert.match(error.hint, /request id/);
      assert.deepEqual(error.cause, {
        code,
        message: 'invalid input syntax for type uuid: "user_2abc"',
        details: null,
        hint: null,
      });
    }
  }
});

Deno.test("database errors · a call that was rolled back can be repeated, and the hint names that", () => {
  for (const code of ["40001", "40P01", "55P03", "57014", "53100", "53200", "53300", "53400", "25006"]) {
    const error = failed(code, 500);
    assert.deepEqual([error.code, error.status, error.transient], ["SM_UNAVAILABLE", 503, true], code);
    assert.match(error.hint, /Nothing was changed\. Try again after the seconds in Retry-After/);
  }
  assert.match(failed("25006", 500).hint, /at the primary database/);
});

Deno.test("database errors · if the reply may have been lost, only a key makes a repetition safe", () => {
  const lost = ["08000", "08003", "08006", "57P01", "57P02", "57P03", "58000", "58030", "PGRST000", "PGRST003", "40003"]
    .map((code) => failed(code, 503));
  const gateways = [429, 502, 503, 504, 522, 546].map((status) => fromPostgrest({ message: "<html>" }, status, "user"));
  const own = fromPostgrest({ code: "name_resolution_failed", message: "" }, 503, "caller");
  const unanswered = fromPostgrest({ code: "", message: "TypeError: fetch failed" }, 0, "caller");
  for (const error of [...lost, ...gateways, own, unanswered]) {
    assert.equal(error.code, "SM_UNAVAILABLE");
    assert.match(error.hint, /idempotency key that is safe/);
  }
  assert.match(unanswered.hint, /URL/);
  assert.equal(fromPostgrest({ message: "<html>" }, 500, "deployment").code, "SM_INTERNAL");
  assert.equal(failed("PT503", 503).code, "SM_INTERNAL", "a status that a trigger chose is not a gateway's");
});

Deno.test("database errors · a missing release is named; a missing table of a trigger is not ours", () => {
  const ours: [string, string][] = [
    ["PGRST202", "Could not find the function public.messenger_dispatch_batch"],
    ["PGRST205", "Could not find the table 'public.messenger_messages' in the schema cache"],
    ["42883", "function public.messenger_dispatch_batch(messages => jsonb, atomic => boolean) does not exist"],
    ["42P01", "Relation »messenger.settings« existiert nicht"],
    ["3F000", 'schema "messenger" does not exist'],
  ];
  for (const [code, message] of ours) {
    const error = failed(code, 404, message);
    assert.equal(error.code, "SM_UNAVAILABLE", code);
    assert.match(error.hint, /migration/);
  }
  for (const message of ['relation "public.audit_log" does not exist', "function no_messenger() does not exist"]) {
    assert.equal(failed("42P01", 404, message).code, "SM_INTERNAL");
  }
});

Deno.test("database errors · a rejected credential is the mistake of its owner", () => {
  const expected: [code: string | null, status: number, of: Credential, ours: string][] = [
    [null, 401, "caller", "SM_UNAUTHENTICATED"],
    ["UNAUTHORIZED_INVALID_API_KEY", 401, "caller", "SM_UNAUTHENTICATED"],
    ["42501", 401, "caller", "SM_UNAUTHENTICATED"],
    ["PGRST301", 401, "caller", "SM_UNAUTHENTICATED"],
    ["PGRST301", 401, "user", "SM_UNAUTHENTICATED"],
    ["PGRST303", 400, "user", "SM_UNAUTHENTICATED"],
    [null, 401, "user", "SM_INTERNAL"],
    ["PGRST301", 401, "deployment", "SM_INTERNAL"],
    [null, 401, "deployment", "SM_INTERNAL"],
  ];
  for (const [code, status, credential, ours] of expected) {
    const error = fromPostgrest({ code, message: "JWT expired" }, status, credential);
    assert.equal(error.code, ours, `${code} of ${credential}`);
    assert.match(error.code === "SM_INTERNAL" ? error.hint : error.message, /SUPABASE_SECRET_KEYS|JWT expired/);
  }
});

Deno.test("database errors · the origin of a connection determines the owner of its credential", async () => {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => Response.json({ code: "PGRST301", message: "JWSError" }, { status: 401 }),
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  const keys = { secretKeys: { default: "sb_secret_a" }, publishableKeys: { default: "sb_publishable_a" } };
  const [client, deployment] = [connect({ url, key: "sb_secret_a" }), connect(connectionOf({ url, ...keys }))];
  const codes = await Promise.all(
    [client, deployment, deployment.as("a.b.c")].map((db) =>
      db.call("messenger_status", {}).catch((error) => error instanceof SymphonyError ? error.code : error)
    ),
  );
  await server.shutdown();
  assert.deepEqual(codes, ["SM_UNAUTHENTICATED", "SM_INTERNAL", "SM_UNAUTHENTICATED"]);
});

Deno.test("database errors · for an element of a batch the code decides, and foreign errors are only logged", () => {
  assert.deepEqual([fromElement("SM_PRIORITY", "no").code, fromElement("SM_PRIORITY", "no").message], [
    "SM_PRIORITY",
    "no",
  ]);
  for (const code of ["22P02", "XX000", "constructor"]) {
    const error = fromElement(code, "secret");
    assert.deepEqual([error.code, error.cause], ["SM_INTERNAL", { code, message: "secret" }]);
    assert.doesNotMatch(error.message, /secret/);
  }
});
