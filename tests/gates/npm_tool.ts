// Programs from npm at exact versions, fetched once into .symphony/tools: too large, or too platform-dependent, for
// package.json.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "./gate.ts";

export const tools = join(root, ".symphony/tools");

export interface NpmTool {
  /** Path of the program, if `missing` is undefined. */
  program: string;
  /** The reason why it is missing, and the remedy. */
  missing?: string;
}

/** The program that a package installs under its own name; fetched if it is missing. */
export async function npmTool(name: string, version: string): Promise<NpmTool> {
  const directory = join(tools, `${name}-${version}`);
  const program = join(directory, "node_modules/.bin", name);
  await Deno.mkdir(tools, { recursive: true });
  // Test files run in parallel and may fetch the same tool.
  using lock = await Deno.open(`${directory}.lock`, { create: true, write: true });
  await lock.lock(true);
  if (existsSync(program)) return { program };
  const missing = await install(`${name}@${version}`, directory);
  return { program, missing };
}

async function install(spec: string, directory: string): Promise<string | undefined> {
  console.warn(`Fetching ${spec} from npm into .symphony/tools`);
  // Installed completely or not at all, so that an interrupted installation is not used.
  const making = `${directory}.making`;
  const cache = `${directory}.cache`;
  await Deno.mkdir(making, { recursive: true });
  const flags = ["--no-audit", "--no-fund", "--no-save", "--no-package-lock", "--loglevel=error", "--fetch-retries=1"];
  const { code, text } = await run("npm", ["install", "--prefix", making, "--cache", cache, ...flags, spec], {
    cwd: making,
    inherit: true,
    timeout: 300_000,
  }).catch((error) => ({ code: 1, text: String(error) }));
  await Deno.remove(cache, { recursive: true }).catch(() => {});
  if (code === 0) await Deno.rename(making, directory);
  else await Deno.remove(making, { recursive: true });
  if (code === 0) return undefined;
  const reason = text.trim().split("\n")[0];
  return `npm could not fetch ${spec} (${reason}). With access to the npm registry, run the tests again.`;
}
