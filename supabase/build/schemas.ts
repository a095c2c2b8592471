// The sources of the schema, in order, and the names of the objects they create.
import { release } from "./release.ts";

export interface Schema {
  /** Path below supabase/schemas. */
  file: string;
  sql: string;
}

export interface Catalog {
  tables: string[];
  views: string[];
  functions: string[];
}

export function readSchemas(folder: URL): Schema[] {
  return sourceFiles(folder)
    .map((file) => ({ file, sql: Deno.readTextFileSync(new URL(file, folder)).trimEnd() }))
    .map(({ file, sql }) => ({ file, sql: sql.replaceAll("@RELEASE@", release.version) }));
}

/** Paths below the folder, such as `30_dispatch/20_dispatch.sql`, in the order in which they are applied. */
export function sourceFiles(folder: URL): string[] {
  const entries = [...Deno.readDirSync(folder)];
  const files = entries.filter(({ name }) => name.endsWith(".sql")).map(({ name }) => name);
  const below = entries.filter(({ isDirectory }) => isDirectory)
    .flatMap(({ name }) => sourceFiles(new URL(`${name}/`, folder)).map((file) => `${name}/${file}`));
  return [...files, ...below].sort();
}

/** Names such as `public.messenger_claim`, in order of creation and each once. */
export function catalogOf(schemas: Schema[]): Catalog {
  return {
    tables: namesOf(schemas, /^create (?:unlogged )?table if not exists ([\w.]+)/gm),
    views: namesOf(schemas, /^create or replace view ([\w.]+)/gm),
    functions: namesOf(schemas, /^create or replace function ([\w.]+)/gm),
  };
}

function namesOf(schemas: Schema[], statement: RegExp): string[] {
  const names = schemas.flatMap(({ sql }) => [...sql.matchAll(statement)].map((match) => match[1]));
  return [...new Set(names)];
}
