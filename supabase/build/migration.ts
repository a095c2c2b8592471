// The full migration: checks whose objects are there, creates what is missing, replaces functions and views, verifies itself.
import type { Manifest } from "./manifest.ts";
import { release, upgradePath, upgrades } from "./release.ts";
import { type Catalog, catalogOf, type Schema } from "./schemas.ts";
import { fill, literal } from "./template.ts";

/** The function that compares a database with the expected catalog stands before this file, which uses it. */
const manifestReader = "90_manifest/10_verify.sql";

/**
 * What the files need of their session. Some settings are stored in the objects that a statement creates. The files stand in the
 * order of a message's life, callers first, so a function written in SQL may name one that is created after it.
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
  return `-- Symphony Messenger ${release.version}. Generated from supabase/schemas by \`deno task build\`: change it there.
-- Creates what is missing and replaces functions and views; running it again changes nothing.
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
  /** The release that may be there: this one for the full migration, an earlier one for its upgrade; or none. */
  INSTALLABLE: string;
  /** What the file does, after "this file". */
  PURPOSE: string;
  /** SQL expression of the hint where another release is there. */
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
