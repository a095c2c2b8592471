// The files of the repository, for tests that read them all.
import { join } from "node:path";

const root = new URL("../", import.meta.url).pathname;
const NOT_OURS = new Set([".git", ".symphony", "node_modules"]);

/** Paths of all files in a folder, from the root of the repository and sorted; none if there is no such folder. */
export function filesIn(folder = ""): string[] {
  try {
    return [...Deno.readDirSync(join(root, folder))].filter(({ name }) => !NOT_OURS.has(name))
      .flatMap(({ name, isDirectory }) => {
        const path = join(folder, name);
        return isDirectory ? filesIn(path) : [path];
      }).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
