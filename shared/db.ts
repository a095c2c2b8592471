// The database through PostgREST; the only file that imports supabase-js.
import { createClient } from "@supabase/supabase-js";
import { type Credential, fromPostgrest, type PostgrestFailure } from "./database_error.ts";
import type { Database as Schema } from "./database.types.ts";
import { quoteInexactNumbers } from "./exact_numbers.ts";

const REPLY_WITHIN = 20_000; // ms; a half-open connection must end before a lease does

/**
 * The SQL functions of the bus by name, generated from the database.
 * @internal
 */
export type Functions = Schema["public"]["Functions"];
/**
 * The tables of the bus by name, generated from the database.
 * @internal
 */
export type Tables = Schema["public"]["Tables"];
/** The name of a SQL function of the bus. */
export type FunctionName = keyof Functions & string;
/** The named arguments of a SQL function. */
export type Args<F extends FunctionName> = Functions[F]["Args"];
/** The result of a SQL function: a value, or the rows of a table. */
export type Returns<F extends FunctionName> = Functions[F]["Returns"];
/** The name of a table of the bus. */
export type TableName = keyof Tables & string;
/** A row of a table; moments are ISO 8601. */
export type Row<T extends TableName> = Tables[T]["Row"];

/** The database of the bus, with the rights of one caller. */
export interface Database {
  /**
   * Calls a SQL function once, without retries. Untrusted arguments must be checked before: one that Postgres cannot
   * read is SM_INTERNAL, since a project's code may raise the same SQLSTATE. Numbers in a project's own JSON (payloads,
   * results) that a double cannot hold arrive as strings.
   *
   * @param name the function
   * @param args its arguments by name
   * @returns its result
   * @throws SymphonyError for every failure; SM_UNAVAILABLE after 20 seconds without a reply
   */
  call<F extends FunctionName>(name: F, args: Args<F>): Promise<Returns<F>>;
  /**
   * Reads the rows that row level security lets this caller see.
   *
   * @param table the table
   * @param columns the columns to read
   * @param where values that columns must equal; default: all rows
   * @returns the rows, in no particular order
   * @throws SymphonyError for every failure
   */
  read<T extends TableName, C extends keyof Row<T> & string>(
    table: T,
    columns: readonly C[],
    where?: Partial<Row<T>>,
  ): Promise<Pick<Row<T>, C>[]>;
  /**
   * The same database with the rights of a user.
   *
   * @param jwt the user's access token
   * @returns a database whose calls carry the token
   * @throws Error if the connection has no publishable key
   */
  as(jwt: string): Database;
}

/** The address and the keys of a Supabase project. */
export interface Connection {
  /** The project's URL, such as https://project.supabase.co. */
  url: string;
  /** A secret key; every call runs as service_role. */
  key: string;
  /** The key that travels beside a user's JWT instead of the secret key; needed for `as` only. */
  publishableKey?: string;
  /** Whether the keys are an edge function's own, so that a rejected one is SM_INTERNAL; default: false. */
  isDeployment?: boolean;
}

/** The connection of an edge function, from its environment. */
export function connectionOf(
  env: { url: string; secretKeys: Record<string, string>; publishableKeys: Record<string, string> },
): Connection {
  const key = env.secretKeys.default ?? Object.values(env.secretKeys)[0];
  if (!key) throw new Error("SUPABASE_SECRET_KEYS or SUPABASE_SERVICE_ROLE_KEY must be set");
  const publishableKey = env.publishableKeys.default ?? Object.values(env.publishableKeys)[0];
  return { url: env.url, key, publishableKey, isDeployment: true };
}

/** Opens a database; nothing is sent until the first call. */
export function connect({ url, key, publishableKey, isDeployment = false }: Connection): Database {
  const asUser = (jwt: string): Database => {
    if (!publishableKey) throw new Error("SUPABASE_PUBLISHABLE_KEYS or SUPABASE_ANON_KEY must be set to act for users");
    return open(url, publishableKey, jwt, isDeployment ? "user" : "caller", asUser);
  };
  return open(url, key, key, isDeployment ? "deployment" : "caller", asUser);
}

/** Milliseconds as a SQL interval. */
export function interval(ms: number): string {
  return `${ms} milliseconds`;
}

function open(
  url: string,
  key: string,
  token: string,
  credential: Credential,
  as: (jwt: string) => Database,
): Database {
  // With an accessToken function supabase-js starts no session handling: no storage, no refresh timer.
  const client = createClient(url, key, {
    accessToken: () => Promise.resolve(token),
    db: { schema: "public", timeout: REPLY_WITHIN },
    global: { fetch: fetchExact },
  });
  return {
    as,
    async call<F extends FunctionName>(name: F, args: Args<F>) {
      const reply = await client.rpc(name, args);
      return dataOf(reply, credential) as Returns<F>; // the generated types are those of this function
    },
    async read<T extends TableName, C extends keyof Row<T> & string>(
      table: T,
      columns: readonly C[],
      where: Partial<Row<T>> = {},
    ) {
      const reply = await client.from(table).select(columns.join()).match(where).retry(false);
      return dataOf(reply, credential) as Pick<Row<T>, C>[]; // select names exactly these columns
    },
  };
}

/** supabase-js parses replies with JSON.parse, which silently rounds a bigint that SQL has dispatched. */
const fetchExact: typeof fetch = async (input, init) => {
  const response = await fetch(input, init);
  if (!response.ok) return response;
  const text = await response.text();
  return new Response(text === "" ? null : quoteInexactNumbers(text), response);
};

interface Reply {
  data: unknown;
  error: PostgrestFailure | null;
  status: number;
}

function dataOf({ data, error, status }: Reply, credential: Credential): unknown {
  if (error) throw fromPostgrest(error, status, credential);
  return data;
}
