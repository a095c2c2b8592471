// Generates the migration, the upgrades from earlier releases, the rollback and the manifest from supabase/schemas.
// --check fails if a generated file on disk differs. A test with a database checks that the manifest is correct.
import { formerNames } from "./build/former_names.ts";
import { formatManifest, type Manifest, manifestOf, readManifest } from "./build/manifest.ts";
import { migrationOf } from "./build/migration.ts";
import { migrationPath, rollbackPath, upgradePath, upgrades } from "./build/release.ts";
import { renamedIn } from "./build/renames.ts";
import { rollbackOf } from "./build/rollback.ts";
import { readSchemas } from "./build/schemas.ts";
import { upgradeOf, type UpgradeSource } from "./build/upgrade.ts";

const root = new URL("./", import.meta.url);
const releases = new URL("../tests/fixtures/releases/", import.meta.url);
const manifestPath = "manifest.json";
const schemas = readSchemas(new URL("schemas/", root));

const sourcesOfUpgrades: UpgradeSource[] = upgrades.map((upgrade) => ({
  upgrade,
  from: readManifest(new URL(`${upgrade.from}/manifest.json`, releases)),
  renames: JSON.parse(read(`build/alterations/from_${upgrade.from}.renames.json`)),
  alterations: read(`build/alterations/from_${upgrade.from}.sql`),
}));

function scriptsOf(manifest: Manifest): { path: string; text: string }[] {
  const drops = sourcesOfUpgrades.flatMap(({ from, renames }) =>
    formerNames(renamedIn(from, renames).manifest, manifest, renames).drop
  );
  return [
    { path: migrationPath, text: migrationOf(schemas, manifest, drops) },
    { path: rollbackPath, text: rollbackOf() },
    ...sourcesOfUpgrades.map((source) => ({
      path: upgradePath(source.upgrade),
      text: upgradeOf(schemas, manifest, source),
    })),
  ];
}

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, root));
}

if (Deno.args.includes("--check")) {
  for (const { path, text } of scriptsOf(readManifest(new URL(manifestPath, root)))) {
    if (await Deno.readTextFile(new URL(path, root)).catch(() => "") === text) continue;
    console.error(`supabase/${path} differs from supabase/schemas: run deno task build and commit it.`);
    Deno.exit(1);
  }
} else {
  const manifest = await manifestOf(migrationOf(schemas, []));
  for (const { path, text } of [...scriptsOf(manifest), { path: manifestPath, text: formatManifest(manifest) }]) {
    const url = new URL(path, root);
    await Deno.mkdir(new URL("./", url), { recursive: true });
    await Deno.writeTextFile(url, text);
    console.log(`wrote supabase/${path}: ${text.split("\n").length} lines`);
  }
}
