// A copy of the deployable part of the repository with a test's own packs, as the `root` of a project.
import { dirname, join } from "node:path";

const repository = new URL("../", import.meta.url).pathname;
const DEPLOYED = ["functions", "shared", "supabase/config.toml", "supabase/migrations", "deno.json", "package.json"];

/**
 * Makes the copy; it is removed after the file's tests.
 * @param files texts by path, such as `packs/index.ts`; without that path the repository's packs are copied, too
 * @returns the folder
 */
export async function rootWith(files: Record<string, string>): Promise<string> {
  // Inside the repository, so that npm packages are resolved.
  const root = join(repository, ".symphony/test/roots", crypto.randomUUID().slice(0, 8));
  const parts = "packs/index.ts" in files ? DEPLOYED : [...DEPLOYED, "packs"];
  for (const part of parts) await copy(join(repository, part), join(root, part));
  for (const [path, text] of Object.entries(files)) {
    await Deno.mkdir(dirname(join(root, path)), { recursive: true });
    await Deno.writeTextFile(join(root, path), text);
  }
  Deno.test.afterAll(() => Deno.remove(root, { recursive: true }));
  return root;
}

async function copy(from: string, to: string): Promise<void> {
  if (!(await Deno.stat(from)).isDirectory) {
    await Deno.mkdir(dirname(to), { recursive: true });
    return await Deno.copyFile(from, to);
  }
  await Deno.mkdir(to, { recursive: true });
  for await (const { name } of Deno.readDir(from)) await copy(join(from, name), join(to, name));
}
