// Tables, their parts and types of an earlier release that have another name now. They are renamed and keep their data.
import type { Manifest, ManifestRow } from "./manifest.ts";

/**
 * Kind, name in the earlier release (of a table's part: below the table's new name), and the new name without its
 * schema.
 */
export type Rename = [kind: "table" | "constraint" | "column" | "type" | "function", object: string, name: string];

export interface Renamed {
  /** SQL, in an order in which each statement finds its object. */
  statements: string[];
  /** The earlier manifest as it reads once the statements have run. */
  manifest: Manifest;
}

/** Functions are not among the statements: they are made again under their new names. */
export function renamedIn(from: Manifest, renames: readonly Rename[]): Renamed {
  const statements: string[] = [];
  let manifest = from;
  const order = ["type", "table", "constraint", "column"];
  for (
    const [kind, object, name] of renames.filter(([kind]) => kind !== "function").toSorted(([a], [b]) =>
      order.indexOf(a) - order.indexOf(b)
    )
  ) {
    const { schema, table } = partsOf(kind, object);
    const renamed = `${table ?? schema}.${name}`;
    statements.push(
      kind === "table" || kind === "type"
        ? `alter ${kind} ${object} rename to ${name};`
        : `alter table ${table} rename ${kind} ${lastOf(object)} to ${name};`,
    );
    manifest = manifest.map((row) => replacedIn(row, object, renamed));
    if (kind === "constraint") {
      // The index of a key bears the name of its constraint, in its definition without the schema.
      const old = lastOf(object);
      manifest = manifest.map((row) => replacedIn(row, `${schema}.${old}`, `${schema}.${name}`))
        .map(([rowKind, index, definition]): ManifestRow => [
          rowKind,
          index,
          rowKind === "index" ? definition?.replace(` INDEX ${old} ON `, ` INDEX ${name} ON `) ?? null : definition,
        ]);
    }
  }
  return { statements, manifest };
}

function partsOf(kind: Rename[0], object: string): { schema: string; table?: string } {
  const parts = object.split(".");
  return kind === "constraint" || kind === "column"
    ? { schema: parts[0], table: parts.slice(0, 2).join(".") }
    : { schema: parts[0] };
}

function lastOf(object: string): string {
  return object.slice(object.lastIndexOf(".") + 1);
}

function replacedIn([kind, object, definition]: ManifestRow, old: string, renamed: string): ManifestRow {
  const pattern = new RegExp(`(?<![\\w.])${old.replaceAll(".", "\\.")}(?![\\w])`, "g");
  return [kind, object.replace(pattern, renamed), definition?.replace(pattern, renamed) ?? null];
}
