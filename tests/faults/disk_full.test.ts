// F13: the disk is full, then has space again. Acknowledged messages are kept, rejected ones are not stored, and work
// resumes.
import assert from "node:assert/strict";
import postgres from "postgres";
import { cloneProject } from "../../supabase/local/template.ts";
import { ensureTemplate } from "../project.ts";
import { claim, dispatchMany, settle } from "../supabase/bus.ts";

const NAME =
  "disk full · acknowledged messages are kept, rejected ones are not stored, and work resumes with free space";
const SIZE = "200m";

if (await withSmallDisk(() => Promise.resolve())) {
  Deno.test({
    name: NAME,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => void await withSmallDisk(fillAndFree),
  });
} else Deno.test.ignore(`${NAME} [SKIPPED: a small disk needs root and mount]`, () => {});

/** Runs the work on a small file system; returns false where none can be mounted. */
async function withSmallDisk(work: (disk: string) => Promise<void>): Promise<boolean> {
  if (Deno.uid() !== 0) return false;
  const disk = await Deno.makeTempDir({ dir: "/tmp", prefix: "symphony-disk-" });
  await Deno.chmod(disk, 0o755);
  try {
    if (!await mount("mount", "-t", "tmpfs", "-o", `size=${SIZE}`, "tmpfs", disk)) return false;
    await work(disk).finally(() => mount("umount", "--lazy", disk));
    return true;
  } finally {
    await Deno.remove(disk).catch(() => {});
  }
}

async function mount(program: string, ...args: string[]): Promise<boolean> {
  const { success } = await new Deno.Command(program, { args, stdout: "null", stderr: "null" }).output()
    .catch(() => ({ success: false }));
  return success;
}

async function fillAndFree(disk: string): Promise<void> {
  const options = { directory: `${disk}/project`, functions: false, durable: true };
  const filler = `${disk}/filler`;
  const project = await cloneProject(await ensureTemplate(), options);
  try {
    const acknowledged = await dispatchMany(project.sql, 100);
    await fill(filler);
    let failure: unknown;
    const pad = Array.from({ length: 500 }, () => crypto.randomUUID());
    for (let n = 0; n < 200 && !failure; n++) {
      await dispatchMany(project.sql, 20, { payload: { pad } })
        .then((ids) => acknowledged.push(...ids), (error) => failure = error);
    }
    assert.ok(
      failure instanceof postgres.PostgresError && failure.code === "53100",
      `void: not a full disk: ${failure}`,
    );
    await Deno.remove(filler);
    const stored = (await project.sql`select id from messenger_messages`).map(({ id }) => id);
    assert.deepEqual(stored.toSorted(), acknowledged.toSorted());
    const [after] = await dispatchMany(project.sql, 1);
    const handled: string[] = [];
    for (let rows = await claim(project.sql, { batch: 1_000 }); rows.length > 0; rows = await claim(project.sql)) {
      const results = rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" }));
      handled.push(...(await settle(project.sql, results)).map(({ id }) => id));
    }
    assert.deepEqual(handled.toSorted(), [...acknowledged, after].toSorted());
    const [{ violations }] = await project.sql`select sum(violations) as violations from messenger_audit()`;
    assert.equal(violations, "0");
  } finally {
    await project.stop();
  }
}

/** Writes until the file system is full. */
async function fill(path: string): Promise<void> {
  using file = await Deno.open(path, { create: true, write: true });
  for (let size = 1_048_576; size >= 4_096; size /= 2) {
    const block = new Uint8Array(size);
    try {
      for (;;) await file.write(block);
    } catch {
      // full for blocks of this size
    }
  }
}
