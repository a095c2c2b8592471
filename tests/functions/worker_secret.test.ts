// The secret of the clock's doors: Vault's two, the environment's, and nobody else's.
import assert from "node:assert/strict";
import { testLocally, useTarget } from "../target.ts";

const vault = useTarget();
const configured = useTarget({ env: { SYMPHONY_WORKER_SECRET: "configured-worker-secret" } });

async function statusWith(secret: string, { target } = vault, path = "worker"): Promise<number> {
  return (await target().call(path, { json: {}, as: "nobody", headers: { authorization: `Bearer ${secret}` } })).status;
}

async function inVault(name: string): Promise<string | undefined> {
  const [row] = await vault.project().sql`select decrypted_secret from vault.decrypted_secrets where name = ${name}`;
  return row?.decrypted_secret;
}

/** An isolate keeps each answer for a minute. */
const forgetAnswers = async () => {
  for (const door of ["worker", "scheduler"]) await vault.project().functions.kill(door);
};

testLocally("worker secret · before messenger_start there is none, and no token passes", async () => {
  assert.equal(await inVault("symphony_worker_secret"), undefined);
  assert.equal(await statusWith("some-secret-nobody-made"), 401);
});

testLocally(
  "worker secret · messenger_start makes one that opens worker and scheduler, and no other does",
  async () => {
    await vault.project().sql`select messenger_start()`;
    await vault.project().sql`select messenger_stop()`;
    const secret = await inVault("symphony_worker_secret") ?? assert.fail("no secret");
    assert.deepEqual([await statusWith(secret), await statusWith(secret, vault, "scheduler")], [202, 200]);
    assert.deepEqual([await statusWith(`${secret}x`), await statusWith(secret.toUpperCase(), vault, "scheduler")], [
      401,
      401,
    ]);
    assert.equal(await statusWith(secret, vault, "dispatch"), 401, "it opens no other door");
  },
);

testLocally("worker secret · starting again keeps the secret", async () => {
  const before = await inVault("symphony_worker_secret");
  await vault.project().sql`select messenger_start()`;
  await vault.project().sql`select messenger_stop()`;
  assert.equal(await inVault("symphony_worker_secret"), before);
});

testLocally("worker secret · during a rotation two are live, afterwards the new one alone", async () => {
  const { sql } = vault.project();
  const [old, next] = [await inVault("symphony_worker_secret") ?? "", "the-next-secret-of-the-worker"];
  await sql`select vault.create_secret(${next}, 'symphony_worker_secret_next')`;
  assert.deepEqual([await statusWith(old), await statusWith(next)], [202, 202]);

  await sql`select vault.update_secret(id, ${next}) from vault.secrets where name = 'symphony_worker_secret'`;
  await sql`delete from vault.secrets where name = 'symphony_worker_secret_next'`;
  await forgetAnswers();
  assert.deepEqual([await statusWith(old), await statusWith(next)], [401, 202]);
});

testLocally("worker secret · SYMPHONY_WORKER_SECRET wins over Vault", async () => {
  const { sql } = configured.project();
  await sql`select messenger_start()`;
  await sql`select messenger_stop()`;
  const [{ secret }] =
    await sql`select decrypted_secret as secret from vault.decrypted_secrets where name = 'symphony_worker_secret'`;
  assert.equal(await statusWith("configured-worker-secret", configured), 202);
  assert.equal(await statusWith("configured-worker-secret", configured, "scheduler"), 200);
  assert.equal(await statusWith(secret, configured), 401, "Vault's");
});

testLocally("worker secret · the secret key opens the doors whatever Vault holds", async () => {
  for (const { target } of [vault, configured]) {
    assert.equal((await target().call("worker", { json: {} })).status, 202);
    assert.equal((await target().call("scheduler", { json: {} })).status, 200);
  }
});
