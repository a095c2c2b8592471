// `npm start`: runs this repository's project until Ctrl-C and prints its addresses and keys.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { findPostgres } from "./binaries.ts";
import { DirectoryTaken, lockDirectory } from "./directory_lock.ts";
import { PROJECT_DIRECTORY, REPOSITORY } from "./paths.ts";
import { portOrNext } from "./ports.ts";
import { type Project, startProject } from "./project.ts";

const API_PORT = 24321;
const DATABASE_PORT = 24322;
const CODE = ["functions", "shared", "packs", "deno.json"];
const DAY = 24 * 3_600; // s
const SETTLED = 200; // ms without a change; an editor writes a file in several steps, a checkout writes many
const REGISTERING = "dispatch"; // registers the message types of the code when its isolate starts
const RUNNING = join(PROJECT_DIRECTORY, "running.json");

const OUTDATED = `The database of this project was created by another version of the migration, which changes until 1.0.
To create it again, without its messages: Ctrl-C, npm run reset, npm start
`;

const stopRequested = Promise.withResolvers<void>();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.addSignalListener(signal, () => stopRequested.resolve());
}

try {
  // Checked first: otherwise a second start would report its ports as taken.
  (await lockDirectory(PROJECT_DIRECTORY)).release();
  await using project = await startProject({
    directory: PROJECT_DIRECTORY,
    apiPort: portOrNext(API_PORT, "the API", console.log),
    dbPort: portOrNext(DATABASE_PORT, "Postgres", console.log),
    clock: true,
    env: settings(),
    log: console.log,
  });
  await writeRunningFile(project);
  console.log(describe(project, await project.signUser({ sub: crypto.randomUUID() }, { expiresIn: DAY })));
  if (!await isOfThisRelease(project)) console.log(OUTDATED);
  project.functions.warm(REGISTERING);
  watchCode(() => {
    project.functions.replace();
    project.functions.warm(REGISTERING);
  }).catch((error: Error) => console.log(`Changes of the code take effect at the next start: ${error.message}`));
  await stopRequested.promise;
  console.log("Stopping …");
  rmSync(RUNNING, { force: true });
} catch (error) {
  if (!(error instanceof DirectoryTaken)) throw error;
  console.error(error.message);
  Deno.exitCode = 1;
}
// Signal listeners would keep the process alive.
Deno.exit();

/** Calls back after changes in the folders of code, until this process ends. */
async function watchCode(onChange: () => void): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  for await (const { kind } of Deno.watchFs(CODE.map((name) => join(REPOSITORY, name)))) {
    if (kind === "access") continue;
    clearTimeout(timer);
    timer = setTimeout(() => {
      console.log(
        "The code has changed: its message types are registered, and the next call of a function runs the new code.",
      );
      onChange();
    }, SETTLED);
  }
}

/** The variables of this process that the functions get. */
function settings(): Record<string, string> {
  return Object.fromEntries(Object.entries(Deno.env.toObject()).filter(([name]) => /^(SYMPHONY|OTEL)_/.test(name)));
}

/** Whether the database equals the manifest of this repository. */
async function isOfThisRelease({ sql }: Project): Promise<boolean> {
  const [{ has_manifest }] = await sql`select to_regprocedure('messenger.manifest()') is not null as has_manifest`;
  if (!has_manifest) return false;
  const manifest = await Deno.readTextFile(join(REPOSITORY, "supabase/manifest.json"));
  const [{ differences }] = await sql`
    with released as (
      select e ->> 0 as kind, e ->> 1 as object, e ->> 2 as definition
      from jsonb_array_elements(${manifest}::text::jsonb) e
    )
    select count(*)::int as differences
    from released r
    full join messenger.manifest() m on m.kind = r.kind and m.object = r.object
    where m.definition is distinct from r.definition or m.object is null or r.object is null`;
  return differences === 0;
}

/** Other programs, such as the dashboard, find the running project by this file; the keys are in the same folder. */
async function writeRunningFile({ url }: Project): Promise<void> {
  await Deno.writeTextFile(RUNNING, JSON.stringify({ url }), { mode: 0o600 });
}

function describe({ url, databaseUrl, publishableKey, secretKey }: Project, userToken: string): string {
  const message = JSON.stringify({
    message: { type: "ExampleQuick", payload: { to: "Ada" } },
  });
  return `
Symphony Messenger is running. Ctrl-C stops it and keeps its data; npm run reset deletes the data.

  API               ${url}
  Functions         ${url}/functions/v1
  Publishable key   ${publishableKey}
  Secret key        ${secretKey}
  A user's token    ${userToken}
                    (valid for a day; for types that users may dispatch, such as ExampleUser:
                    -H 'authorization: Bearer <token>')

Dispatch a message:
  curl ${url}/functions/v1/dispatch -H 'apikey: ${secretKey}' -H 'content-type: application/json' -d '${message}'

Open the dashboard, from another terminal:
  npm run dashboard

Show the queues in SQL:
  ${sqlCommand(databaseUrl())}
`;
}

function sqlCommand(url: string): string {
  return existsSync(findPostgres().program("psql"))
    ? `psql '${url}' -v SHOW_CONTEXT=never -c 'select * from messenger_queue_depth'`
    : `${url}   (with your own client: this PostgreSQL has no psql)`;
}
