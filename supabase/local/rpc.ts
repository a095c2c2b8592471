// Calls a function of schema public with named arguments, by the statements of PostgREST.
import { ApiError } from "./api_error.ts";
import type { Catalog, Parameter, Routine, Snapshot } from "./catalog.ts";
import type { Pool } from "./connection.ts";
import type { Caller } from "./identity.ts";
import { quote, type Reply, runAs } from "./session.ts";

export interface Call {
  reply: Reply;
  routine: Routine;
}

/** POST: the body is one JSON object of arguments, passed to Postgres as unchanged text. */
export async function callWithBody(
  pool: Pool,
  catalog: Catalog,
  caller: Caller,
  request: Request,
  name: string,
): Promise<Call> {
  const body = await request.text() || "{}";
  const names = argumentNames(body);
  const { routine, snapshot } = await resolve(catalog, name, names);
  const raw = takesWholeBody(routine, names);
  const used = raw ? routine.parameters : routine.parameters.filter((parameter) => names.includes(parameter.name));
  const args = raw
    ? `$1::text::${routine.parameters[0].type}`
    : used.map((parameter) => `${quote(parameter.name)} := a.${quote(parameter.name)}`).join(", ");
  const columns = used.map((parameter) => `${quote(parameter.name)} ${parameter.type}`).join(", ");
  const source = raw || used.length === 0 ? "(select) as a" : `json_to_record($1::text::json) as a (${columns})`;
  const text = statement(routine, args, source);
  const values = used.length ? [body] : [];
  return {
    routine,
    reply: await runAs(pool, caller, request, snapshot, { text, values, readOnly: routine.readOnly }),
  };
}

/** GET: arguments are query parameters, read-only. */
export async function callWithQuery(
  pool: Pool,
  catalog: Catalog,
  caller: Caller,
  request: Request,
  name: string,
): Promise<Call> {
  const query = [...new URL(request.url).searchParams].filter(([key]) => key !== "apikey");
  const { routine, snapshot } = await resolve(catalog, name, query.map(([key]) => key));
  const args = query.map(([key], i) => `${quote(key)} := $${i + 1}::text::${typeOf(routine, key)}`).join(", ");
  const text = statement(routine, args, "(select) as a");
  const values = query.map(([, value]) => value);
  return { routine, reply: await runAs(pool, caller, request, snapshot, { text, values, readOnly: true }) };
}

function statement(routine: Routine, args: string, source: string): string {
  const call = `public.${quote(routine.name)}(${args})`;
  if (routine.returns === "void") return `select null as body, count(${call}::text)::int as rows from ${source}`;
  if (routine.returns === "scalar" && !routine.set) {
    return `select coalesce(to_json(${call})::text, 'null') as body, 1 as rows from ${source}`;
  }
  const result = routine.returns === "scalar"
    ? `select ${call} as value from ${source}`
    : `select c.* from ${source} cross join lateral ${call} as c`;
  const all = `json_agg(${routine.returns === "scalar" ? "r.value" : "r"})`;
  const body = routine.set ? `coalesce(${all}, '[]')::text` : `coalesce((${all} -> 0)::text, 'null')`;
  return `with r as (${result}) select ${body} as body, count(*)::int as rows from r`;
}

function argumentNames(body: string): string[] {
  const parsed = parseJson(body);
  if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return Object.keys(parsed);
  return [];
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new ApiError(400, "PGRST102", "Empty or invalid json");
  }
}

async function resolve(
  catalog: Catalog,
  name: string,
  names: string[],
): Promise<{ routine: Routine; snapshot: Snapshot }> {
  let snapshot = await catalog.current();
  let matches = candidates(snapshot, name, names);
  if (matches.length === 0) {
    catalog.invalidate();
    snapshot = await catalog.current();
    matches = candidates(snapshot, name, names);
  }
  if (matches.length === 1) return { routine: matches[0], snapshot };
  if (matches.length === 0) throw notFound(snapshot, name, names);
  const signatures = matches.map(({ parameters }) => `public.${name}(${parameters.map(describe).join(", ")})`);
  throw new ApiError(
    300,
    "PGRST203",
    `Could not choose the best candidate function between: ${signatures.join(", ")}`,
    null,
    "Try renaming the parameters or the function itself in the database so function overloading can be resolved",
  );
}

function candidates(snapshot: Snapshot, name: string, names: string[]): Routine[] {
  const given = new Set(names);
  const overloads = snapshot.routines.get(name) ?? [];
  const byName = overloads.filter(({ parameters }) =>
    parameters.every((parameter) => !parameter.required || given.has(parameter.name)) &&
    names.every((wanted) => parameters.some((parameter) => parameter.name === wanted))
  );
  return byName.length ? byName : overloads.filter((routine) => takesWholeBody(routine, names));
}

/** PostgREST's one exception to named arguments: a single unnamed json parameter gets the whole body. */
function takesWholeBody({ parameters }: Routine, names: string[]): boolean {
  const [only] = parameters;
  return parameters.length === 1 && only.name === "" && ["json", "jsonb"].includes(only.type) && !names.includes("");
}

function notFound(snapshot: Snapshot, name: string, names: string[]): ApiError {
  const called = names.length ? `(${names.join(", ")})` : " without parameters";
  const searched = names.length
    ? ` with parameter${names.length > 1 ? "s" : ""} ${names.join(", ")}`
    : " without parameters";
  const [near] = snapshot.routines.get(name) ?? [];
  return new ApiError(
    404,
    "PGRST202",
    `Could not find the function public.${name}${called} in the schema cache`,
    `Searched for the function public.${name}${searched} or with a single unnamed json/jsonb parameter, ` +
      "but no matches were found in the schema cache.",
    near
      ? `Perhaps you meant to call the function public.${name}(${near.parameters.map((p) => p.name).join(", ")})`
      : null,
  );
}

function typeOf({ parameters }: Routine, name: string): string {
  return parameters.find((parameter) => parameter.name === name)?.type ?? "text";
}

function describe({ name, type }: Parameter): string {
  return `${name} => ${type}`;
}
