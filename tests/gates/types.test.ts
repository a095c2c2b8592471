// The generated types are those of the database.
import assert from "node:assert/strict";
import { useProject } from "../project.ts";
import { databaseTypes, FILE } from "./database_types.ts";
import { gate } from "./gate.ts";
import { cliMissing } from "./supabase_cli.ts";

const project = useProject();

gate("shared/database.types.ts is generated from the current database (deno task types)", cliMissing, async () => {
  assert.equal(await Deno.readTextFile(FILE), await databaseTypes(project().databaseUrl()));
});

gate("a changed signature changes the types", cliMissing, async () => {
  const { sql } = project();
  await sql`create function public.messenger_planted(colour text) returns text language sql
    set search_path = pg_catalog, pg_temp as 'select colour'`;
  try {
    const types = await databaseTypes(project().databaseUrl());
    assert.match(types, /"messenger_planted": \{\s*Args: \{ "colour": string \}/);
  } finally {
    await sql`drop function public.messenger_planted(text)`;
  }
});
