// Tables, their parts and types of an earlier release that have another name now. They are renamed and keep their data.
import type { Manifest, ManifestRow } from "./manifest.ts";

/**
 * Kind, name in the earlier release (of a table's part: below the table's new name), and the new name without its
 * schema.
 */
export type Rename = [kind: "table" | "constraint" | "column" | "type" | "function", object: string, name: string];

export interface Renamed {
  statements: string[];
  /** The earlier manifest as it reads once the statements have run. */
  manifest: Manifest;
}

/**
 * @param renames in an order in which each finds its object: tables before their parts. Functions are not among the
 * statements: they are made again under their new names.
 */
export function renamedIn(from: Manifest, renames: readonly Rename[]): Renamed {
  const statements: string[] = [];
  let manifest = from;
  for (const [kind, object, name] of renames.filter(([kind]) => kind !== "function")) {
    const [owner, old] = splitLast(object);
    statements.push(
      kind === "table" || kind === "type"
        ? `alter ${kind} ${object} rename to ${name};`
        : `alter table ${owner} rename ${kind} ${old} to ${name};`,
    );
    manifest = manifest.map((row) => replacedIn(row, object, `${owner}.${name}`));
    if (kind === "constraint") {
      // The index of a key bears the name of its constraint, in its definition without the schema.
      const [schema] = splitLast(owner);
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

/** The name before the last dot, and the part after it. */
export function splitLast(object: string): [string, string] {
  const at = object.lastIndexOf(".");
  return [object.slice(0, at), object.slice(at + 1)];
}

function replacedIn([kind, object, definition]: ManifestRow, old: string, renamed: string): ManifestRow {
  const pattern = new RegExp(`(?<![\\w.])${old.replaceAll(".", "\\.")}(?![\\w])`, "g");
  return [kind, object.replace(pattern, renamed), definition?.replace(pattern, renamed) ?? null];
}
