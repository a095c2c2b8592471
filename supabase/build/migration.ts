// The full migration: checks existing objects, creates missing ones, replaces functions and views, and verifies itself.
import type { Manifest } from "./manifest.ts";
import { release, upgradePath, upgrades } from "./release.ts";
import { type Catalog, catalogOf, type Schema } from "./schemas.ts";
import { fill, literal } from "./template.ts";

/** The function with the expected catalog is inserted before this file, which uses it. */
const manifestReader = "90_manifest/10_verify.sql";

/**
 * Session settings of the scripts. Some settings are stored in the objects that a statement creates. Files follow the
 * life of a message, callers first, so SQL functions may call functions that are created after them.
 */
const settings = {
  check_function_bodies: "off",
  client_min_messages: "warning",
  quote_all_identifiers: "off",
  standard_conforming_strings: "on",
};
export const sessionSettings = Object.entries(settings).map(([name, value]) => `set ${name} = ${value};`).join("\n");
export const sessionResets = Object.keys(settings).map((name) => `reset ${name};`).join("\n");

/** @param drops statements that remove leftovers of upgrades from earlier releases */
export function migrationOf(sources: Schema[], manifest: Manifest, drops: readonly string[] = []): string {
  const files = upgrades.map((upgrade) => `supabase/${upgradePath(upgrade)}`);
  return `-- Symphony Messenger ${release.version}. Generated from supabase/schemas by \`deno task build\`; do not edit.
-- Creates missing objects and replaces functions and views; running it again changes nothing.
-- With psql: psql --single-transaction --set ON_ERROR_STOP=1 --file <this file>
${sessionSettings}

${
    preflightOf(sources, {
      INSTALLABLE: release.version,
      PURPOSE: `installs ${release.version}`,
      REMEDY: literal(`apply ${files.join(" or ")}`),
    })
  }

${drops.join("\n")}

${bodyOf(sources, manifest)}
${sessionResets}
`;
}

export interface Preflight extends Record<string, string> {
  /** The only release that may be installed: this one for the full migration, an earlier one for its upgrade. */
  INSTALLABLE: string;
  /** The action of the file, after the words "this file". */
  PURPOSE: string;
  /** SQL expression of the hint if another release is installed. */
  REMEDY: string;
}

export function preflightOf(sources: Schema[], values: Preflight): string {
  const schemas = withManifest(sources, []);
  const { tables, views, functions } = catalogOf(schemas);
  const indexes = schemas.flatMap(({ sql }) =>
    [...sql.matchAll(/^create (?:unique )?index if not exists (\w+)\s+on ([\w.]+)/gm)]
      .map(([, name, table]) => `${table.split(".")[0]}.${name}`)
  );
  const types = schemas.flatMap(({ sql }) => [...sql.matchAll(/^ +create type ([\w.]+)/gm)].map(([, name]) => name));
  const RELATIONS = [...tables, ...views, ...types, ...indexes];
  return fill("preflight.sql", { ...values, RELATIONS, FUNCTIONS: functions, RELEASE: release.version });
}

export function bodyOf(sources: Schema[], manifest: Manifest): string {
  const schemas = withManifest(sources, manifest);
  const body = schemas.map(({ file, sql }) => `-- ---- ${file}\n${sql}\n`).join("\n");
  return `${body}\n${selfCheckOf(catalogOf(schemas))}\n`;
}

function selfCheckOf({ tables, views, functions }: Catalog): string {
  return fill("self_check.sql", { RELATIONS: [...tables, ...views], FUNCTIONS: functions });
}

function withManifest(sources: Schema[], manifest: Manifest): Schema[] {
  return sources.flatMap((schema) =>
    schema.file === manifestReader ? [expectedManifestOf(manifest), schema] : [schema]
  );
}

function expectedManifestOf(manifest: Manifest): Schema {
  const rows = manifest.map((row) => JSON.stringify(row)).join(",\n");
  return { file: "generated from manifest.json", sql: fill("expected_manifest.sql", { ROWS: rows }) };
}
