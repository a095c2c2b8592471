// Copies of the source tree: bugs are planted in them and never in the working tree, several at a time.
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { plantInFile, type TypeScriptMutant } from "./mutant.ts";

const repository = new URL("../../", import.meta.url).pathname;
const NOT_COPIED = new Set([".git", ".symphony", "node_modules"]);

export interface Tree extends AsyncDisposable {
  readonly root: string;
  /** Runs `work` while the bug is planted in the copy. */
  withPlanted<T>(mutant: TypeScriptMutant, work: () => Promise<T>): Promise<T>;
}

/**
 * Copies the source tree.
 * @param template the migrated project that the tests clone (tests/project.ts); the tests of the copy use it, too
 */
export async function copyTree(template: string): Promise<Tree> {
  // Inside the repository, so that npm packages are resolved.
  const root = join(repository, ".symphony/test/mutants", crypto.randomUUID().slice(0, 8));
  await Deno.mkdir(join(root, ".symphony/test"), { recursive: true });
  const parts = [...Deno.readDirSync(repository)].map(({ name }) => name).filter((name) => !NOT_COPIED.has(name));
  await copy(parts.map((part) => join(repository, part)), root);
  await Deno.symlink(template, join(root, ".symphony/test", basename(template)));
  const fetched = ".symphony/postgres"; // for a machine without a PostgreSQL installation
  if (existsSync(join(repository, fetched))) await Deno.symlink(join(repository, fetched), join(root, fetched));
  return {
    root,
    async withPlanted(mutant, work) {
      const path = join(root, mutant.file);
      const sound = await Deno.readTextFile(path);
      await Deno.writeTextFile(path, plantInFile(mutant, sound));
      try {
        return await work();
      } finally {
        await Deno.writeTextFile(path, sound);
      }
    },
    [Symbol.asyncDispose]: () => Deno.remove(root, { recursive: true }),
  };
}

async function copy(from: string[], to: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("cp", { args: ["--archive", "--reflink=auto", ...from, to] })
    .output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}
