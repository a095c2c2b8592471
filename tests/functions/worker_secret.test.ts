// The worker secret: the two of Vault and the environment's are accepted, and no other.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { assertRejected, testLocally, useTarget } from "../target.ts";
import { useApiProxy } from "./api_proxy.ts";

const vault = useTarget();
const api = useApiProxy(() => watched.project());
const watched = useTarget({ env: { SUPABASE_URL: api.url } });
const configured = useTarget({ env: { SYMPHONY_WORKER_SECRET: "configured-worker-secret" } });

const DIGESTS = "rpc/messenger_worker_secret_digests";
const readsSoFar = () => api.calls.filter((path) => path === DIGESTS).length;

/** Limit of the wait for a secret that has just been stored: the digests are read at most once per second. */
const SOON = 5_000; // ms

async function statusWith(secret: string, { target } = vault, path = "worker"): Promise<number> {
  return (await target().call(path, { json: {}, as: "nobody", headers: { authorization: `Bearer ${secret}` } })).status;
}

async function storedSecret(name: string): Promise<string | undefined> {
  const [row] = await vault.project().sql`select decrypted_secret from vault.decrypted_secrets where name = ${name}`;
  return row?.decrypted_secret;
}

const isAccepted = (secret: string, from = vault, path = "worker") =>
  eventually(`the secret opens ${path}`, async () => await statusWith(secret, from, path) < 300, SOON);

/** An isolate caches the digests for a minute. */
const forgetDigests = async () => {
  for (const app of ["worker", "scheduler"]) await vault.project().functions.kill(app);
};

testLocally("worker secret · before messenger_start there is none, and no token is accepted", async () => {
  assert.equal(await storedSecret("symphony_worker_secret"), undefined);
  assert.equal(await statusWith("some-secret-nobody-made"), 401);
});

testLocally(
  "worker secret · messenger_start creates one that opens worker and scheduler, and no other does",
  async () => {
    await vault.project().sql`select messenger_start()`;
    await vault.project().sql`select messenger_stop()`;
    const secret = await storedSecret("symphony_worker_secret") ?? assert.fail("no secret");
    await isAccepted(secret);
    assert.deepEqual([await statusWith(secret), await statusWith(secret, vault, "scheduler")], [202, 200]);
    assert.deepEqual([await statusWith(`${secret}x`), await statusWith(secret.toUpperCase(), vault, "scheduler")], [
      401,
      401,
    ]);
    assert.equal(await statusWith(secret, vault, "dispatch"), 401, "it opens no other edge function");
  },
);

testLocally("worker secret · starting again keeps the secret", async () => {
  const before = await storedSecret("symphony_worker_secret");
  await vault.project().sql`select messenger_start()`;
  await vault.project().sql`select messenger_stop()`;
  assert.equal(await storedSecret("symphony_worker_secret"), before);
});

testLocally("worker secret · during a rotation two are accepted, afterwards only the new one", async () => {
  const { sql } = vault.project();
  const [old, next] = [await storedSecret("symphony_worker_secret") ?? "", "the-next-secret-of-the-worker"];
  await sql`select vault.create_secret(${next}, 'symphony_worker_secret_next')`;
  await isAccepted(next);
  assert.deepEqual([await statusWith(old), await statusWith(next)], [202, 202]);

  await sql`select vault.update_secret(id, ${next}) from vault.secrets where name = 'symphony_worker_secret'`;
  await sql`delete from vault.secrets where name = 'symphony_worker_secret_next'`;
  await forgetDigests();
  assert.deepEqual([await statusWith(old), await statusWith(next)], [401, 202]);
});

testLocally("worker secret · SYMPHONY_WORKER_SECRET takes precedence over Vault", async () => {
  const { sql } = configured.project();
  await sql`select messenger_start()`;
  await sql`select messenger_stop()`;
  const [{ secret }] =
    await sql`select decrypted_secret as secret from vault.decrypted_secrets where name = 'symphony_worker_secret'`;
  assert.equal(await statusWith("configured-worker-secret", configured), 202);
  assert.equal(await statusWith("configured-worker-secret", configured, "scheduler"), 200);
  assert.equal(await statusWith(secret, configured), 401, "Vault's");
});

testLocally("worker secret · the secret key opens the edge functions, whatever Vault contains", async () => {
  for (const { target } of [vault, configured]) {
    assert.equal((await target().call("worker", { json: {} })).status, 202);
    assert.equal((await target().call("scheduler", { json: {} })).status, 200);
  }
});

testLocally(
  "worker secret · many wrong ones cause at most one read per second, and the right one is still accepted",
  async () => {
    const { sql } = watched.project();
    await sql`select messenger_start()`;
    await sql`select messenger_stop()`;
    const [{ secret }] =
      await sql`select decrypted_secret as secret from vault.decrypted_secrets where name = 'symphony_worker_secret'`;
    await isAccepted(secret, watched, "scheduler");
    const [before, started] = [readsSoFar(), performance.now()];
    for (let round = 0; round < 10; round++) {
      const statuses = await Promise.all(
        Array.from({ length: 20 }, (_, n) => statusWith(`a-wrong-secret-${round}-${n}`, watched, "scheduler")),
      );
      assert.deepEqual([...new Set(statuses)], [401]);
    }
    const seconds = (performance.now() - started) / 1_000;
    const flooded = readsSoFar() - before;
    assert.ok(flooded <= 1 + Math.floor(seconds), `${flooded} reads in ${seconds.toFixed(1)} s`);
    assert.equal(await statusWith(secret, watched, "scheduler"), 200);
  },
);

testLocally(
  "worker secret · while the digests cannot be read a cached one is accepted, and others receive 503",
  async () => {
    const [{ secret }] = await watched.project()
      .sql`select decrypted_secret as secret from vault.decrypted_secrets where name = 'symphony_worker_secret'`;
    await isAccepted(secret, watched, "scheduler");
    const away = () => Response.json({ message: "upstream is away" }, { status: 503 });
    api.intercept = (path) => path === DIGESTS ? away() : undefined;
    const headers = { authorization: "Bearer a-secret-nobody-knows" };
    const reply = await eventually("the next read fails", async () => {
      const reply = await watched.target().call("scheduler", { json: {}, as: "nobody", headers });
      return reply.status === 401 ? undefined : reply;
    }, SOON);
    assertRejected(reply, 503, "SM_UNAVAILABLE");
    assert.equal(reply.headers.get("retry-after"), "1");
    assert.equal(await statusWith(secret, watched, "scheduler"), 200);
    api.intercept = () => undefined;
    await eventually(
      "the next read succeeds",
      async () => await statusWith("nobody-knows-it", watched, "scheduler") === 401,
      SOON,
    );
  },
);
