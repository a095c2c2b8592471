// `npm start`: runs this repository's project until Ctrl-C and says how to reach it.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { findPostgres } from "./binaries.ts";
import { DirectoryTaken, lockDirectory } from "./directory_lock.ts";
import { DIRECTORY, REPOSITORY } from "./location.ts";
import { portOrNext } from "./ports.ts";
import { type Project, startProject } from "./project.ts";

const API_PORT = 24321;
const DATABASE_PORT = 24322;
const CODE = ["functions", "shared", "packs", "deno.json"];
const DAY = 24 * 3_600; // s
const SETTLED = 200; // ms: an editor writes a file in several steps, a checkout writes many
const REGISTERING = "dispatch"; // registers the code's message types when its isolate starts
const RUNNING = join(DIRECTORY, "running.json");

const OUTDATED = `This project was made by another state of the migration, which is regenerated until 1.0.
To make it again (its messages are forgotten): Ctrl-C, npm run reset, npm start
`;

const requested = Promise.withResolvers<void>();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.addSignalListener(signal, () => requested.resolve());
}

try {
  // Asked first, or a second start would blame its ports.
  (await lockDirectory(DIRECTORY)).release();
  await using project = await startProject({
    directory: DIRECTORY,
    apiPort: portOrNext(API_PORT, "the API", console.log),
    dbPort: portOrNext(DATABASE_PORT, "Postgres", console.log),
    clock: true,
    env: settings(),
    log: console.log,
  });
  await announceProject(project);
  console.log(describe(project, await project.signUser({ sub: crypto.randomUUID() }, { expiresIn: DAY })));
  if (!await isOfThisRelease(project)) console.log(OUTDATED);
  project.functions.warm(REGISTERING);
  watchCode(() => {
    project.functions.replace();
    project.functions.warm(REGISTERING);
  }).catch((error: Error) => console.log(`Changes of the code are seen at the next start only: ${error.message}`));
  await requested.promise;
  console.log("Stopping …");
  rmSync(RUNNING, { force: true });
} catch (error) {
  if (!(error instanceof DirectoryTaken)) throw error;
  console.error(error.message);
  Deno.exitCode = 1;
}
// Signal listeners would keep the process alive.
Deno.exit();

/** Tells of changes below the folders of code, until this process ends. */
async function watchCode(onChange: () => void): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  for await (const { kind } of Deno.watchFs(CODE.map((name) => join(REPOSITORY, name)))) {
    if (kind === "access") continue;
    clearTimeout(timer);
    timer = setTimeout(() => {
      console.log(
        "The code has changed: its message types are registered, and the next call of a function gets the new code.",
      );
      onChange();
    }, SETTLED);
  }
}

/** What of this process's environment is meant for the functions. */
function settings(): Record<string, string> {
  return Object.fromEntries(Object.entries(Deno.env.toObject()).filter(([name]) => /^(SYMPHONY|OTEL)_/.test(name)));
}

/** Whether the database holds what this repository's migration makes. */
async function isOfThisRelease({ sql }: Project): Promise<boolean> {
  const [{ has_manifest }] = await sql`select to_regprocedure('messenger.manifest()') is not null as has_manifest`;
  if (!has_manifest) return false;
  const manifest = await Deno.readTextFile(join(REPOSITORY, "supabase/manifest.json"));
  const [{ differences }] = await sql`
    with released as (select e ->> 0 as kind, e ->> 1 as object, e ->> 2 as definition from jsonb_array_elements(${manifest}::text::jsonb) e)
    select count(*)::int as differences from released r full join messenger.manifest() m on m.kind = r.kind and m.object = r.object
    where m.definition is distinct from r.definition or m.object is null or r.object is null`;
  return differences === 0;
}

/** Other programs of this repository, such as the dashboard, find the project by this file; the keys lie beside it. */
async function announceProject({ url }: Project): Promise<void> {
  await Deno.writeTextFile(RUNNING, JSON.stringify({ url }), { mode: 0o600 });
}

function describe({ url, databaseUrl, publishableKey, secretKey }: Project, userToken: string): string {
  const message = JSON.stringify({
    message: { type: "ExampleQuick", payload: { to: "Ada" } },
  });
  return `
Symphony Messenger runs. Ctrl-C stops it; its data stays for the next start; npm run reset forgets it.

  API               ${url}
  Functions         ${url}/functions/v1
  Publishable key   ${publishableKey}
  Secret key        ${secretKey}
  A user's token    ${userToken}
                    (of nobody, for a day; the type ExampleUser is open to users: -H 'authorization: Bearer <token>')

Dispatch a message:
  curl ${url}/functions/v1/dispatch -H 'apikey: ${secretKey}' -H 'content-type: application/json' -d '${message}'

Look at it in a browser, from another terminal:
  npm run dashboard

Look at it in SQL:
  ${lookInSql(databaseUrl())}
`;
}

function lookInSql(url: string): string {
  return existsSync(findPostgres().program("psql"))
    ? `psql '${url}' -v SHOW_CONTEXT=never -c 'select * from messenger_queue_depth'`
    : `${url}   (with a client of yours: psql is not part of this PostgreSQL)`;
}
