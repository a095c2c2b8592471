// messenger_worker_secret_digests: the digests with which edge functions compare worker secrets, and the right to read
// them.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { callValue } from "../bus.ts";
import { errorOf } from "../assert_rejected.ts";

const project = useProject();
const digests = () => callValue(project().sql, "messenger_worker_secret_digests");
const check = (secret: string) => callValue(project().sql, "messenger_check_worker_secret", { secret });
const store = (secret: string, name: string) => project().sql`select vault.create_secret(${secret}, ${name})`;
const digestOf = (secret: string) => createHash("sha256").update(secret).digest("hex");

Deno.test.beforeEach(async () => {
  await project().sql`delete from vault.secrets`;
});

test("worker secret · without a secret in Vault there are no digests", async () => {
  assert.deepEqual(await digests(), []);
});

test("worker secret · digests are SHA-256 in hex of the two secrets of a rotation, and no other", async () => {
  await store("somebody-elses", "other_secret");
  assert.deepEqual(await digests(), []);
  await store("the-present-one-ä", "symphony_worker_secret");
  assert.deepEqual(await digests(), [digestOf("the-present-one-ä")]);
  await store("the-next-one", "symphony_worker_secret_next");
  assert.deepEqual(await digests(), [digestOf("the-present-one-ä"), digestOf("the-next-one")]);
  assert.deepEqual([await check("the-next-one"), await check("somebody-elses")], [true, false]);
});

test("worker secret · an empty string in Vault is no secret", async () => {
  await store("", "symphony_worker_secret");
  assert.deepEqual([await digests(), await check("")], [[], false]);
});

test("worker secret · service_role may read the digests, users may not", async () => {
  const { sql } = project();
  await store("the-present-one", "symphony_worker_secret");
  assert.equal((await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_worker_secret_digests"))).length, 1);
  for (const role of ["anon", "authenticated"] as const) {
    const { code } = await errorOf(asRole(sql, role, (tx) => callValue(tx, "messenger_worker_secret_digests")));
    assert.equal(code, "42501", role);
  }
});
