// Generates shared/database.types.ts from the migrated database with the Supabase CLI; `deno task types` writes the
// file.
import { join } from "node:path";
import { startProject } from "../../supabase/local/project.ts";
import { root, run, scratch } from "./gate.ts";
import { cliMissing, supabase } from "./supabase_cli.ts";

export const FILE = join(root, "shared/database.types.ts");
const HEADER = "// Generated from the migrated database by `deno task types`; not for editing.\n";

/** The file's text for the database with this URL, formatted like the repository. */
export async function databaseTypes(databaseUrl: string): Promise<string> {
  const { code, stdout, text } = await supabase(root, ["gen", "types", `--remote=${databaseUrl}`, "--schema=public"]);
  const start = stdout.indexOf("export type Json");
  if (code !== 0 || start < 0) throw new Error(text);
  await using folder = await scratch();
  const file = join(folder.path, "database.types.ts");
  await Deno.writeTextFile(file, HEADER + stdout.slice(start));
  const formatted = await run(Deno.execPath(), ["fmt", "--quiet", "--config", join(root, "deno.json"), file]);
  if (formatted.code !== 0) throw new Error(formatted.text);
  return await Deno.readTextFile(file);
}

if (import.meta.main) {
  if (cliMissing) throw new Error(cliMissing);
  await using folder = await scratch();
  await using project = await startProject({ directory: folder.path, functions: false, durable: false });
  await Deno.writeTextFile(FILE, await databaseTypes(project.databaseUrl()));
  console.log(`wrote ${FILE.slice(root.length)}`);
}
