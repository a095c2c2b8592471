// The catalog of a release as data, read from a newly migrated database or from a frozen file.
import { startProject } from "../local/project.ts";

export type ManifestRow = [kind: string, object: string, definition: string | null];
export type Manifest = ManifestRow[];

/** Runs the migration in an empty project and returns the resulting catalog. */
export async function manifestOf(migration: string): Promise<Manifest> {
  const directory = await Deno.makeTempDir();
  try {
    await using project = await startProject({ directory, migrate: false, functions: false, durable: false });
    await project.sql.unsafe(migration);
    const rows = await project.sql`select kind, object, definition from messenger.manifest() order by kind, object`;
    return rows.map(({ kind, object, definition }) => [kind, object, definition]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

export function readManifest(url: URL): Manifest {
  return JSON.parse(Deno.readTextFileSync(url));
}

export function formatManifest(manifest: Manifest): string {
  return `[\n${manifest.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`;
}
