// Reads the edge functions and seeds of the project from supabase/config.toml.
import { join } from "node:path";
import { parse } from "smol-toml";
import * as z from "zod";

const configFile = z.object({
  db: z.object({
    seed: z.object({ enabled: z.boolean().default(true), sql_paths: z.array(z.string()).default(["./seed.sql"]) })
      .prefault({}),
  })
    .prefault({}),
  functions: z.record(
    z.string(),
    z.object({
      enabled: z.boolean().default(true),
      verify_jwt: z.boolean().default(true),
      entrypoint: z.string().optional(),
      import_map: z.string().optional(),
    }),
  ).default({}),
});

export interface FunctionConfig {
  name: string;
  verifyJwt: boolean;
  /** Absolute paths. */
  entrypoint: string;
  importMap?: string;
}

export interface ProjectConfig {
  functions: FunctionConfig[];
  seeds: string[];
}

/** Reads `supabase/config.toml` below `root`. Its paths are relative to its own folder, as for the Supabase CLI. */
export async function readConfig(root: string): Promise<ProjectConfig> {
  const folder = join(root, "supabase");
  const config = configFile.parse(parse(await Deno.readTextFile(join(folder, "config.toml"))));
  const functions = Object.entries(config.functions).filter(([, declared]) => declared.enabled);
  return {
    seeds: config.db.seed.enabled ? config.db.seed.sql_paths : [],
    functions: functions.map(([name, declared]) => ({
      name,
      verifyJwt: declared.verify_jwt,
      entrypoint: join(folder, declared.entrypoint ?? `functions/${name}/index.ts`),
      importMap: declared.import_map && join(folder, declared.import_map),
    })),
  };
}
