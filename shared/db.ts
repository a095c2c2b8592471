// The database through PostgREST: the only place that knows supabase-js.
import { createClient } from "@supabase/supabase-js";
import { type Credential, fromPostgrest, type PostgrestFailure } from "./database_error.ts";
import type { Database as Schema } from "./database.types.ts";
import { quoteInexactNumbers } from "./exact_numbers.ts";

const REPLY_WITHIN = 20_000; // ms; a half-open connection must end before a lease does

type Functions = Schema["public"]["Functions"];
type Tables = Schema["public"]["Tables"];
export type FunctionName = keyof Functions & string;
export type Args<F extends FunctionName> = Functions[F]["Args"];
export type Returns<F extends FunctionName> = Functions[F]["Returns"];
export type TableName = keyof Tables & string;
export type Row<T extends TableName> = Tables[T]["Row"];

export interface Database {
  /**
   * Calls a SQL function once; a failure is a SymphonyError and is never retried here. Untrusted arguments must be
   * checked before: one that Postgres cannot read is SM_INTERNAL, since a project's code may raise the same SQLSTATE.
   * Numbers in a project's own JSON (payloads, results) that a double cannot hold arrive as strings.
   */
  call<F extends FunctionName>(name: F, args: Args<F>): Promise<Returns<F>>;
  /** Reads rows whose columns equal `where`, as far as row level security lets this caller see them. */
  read<T extends TableName, C extends keyof Row<T> & string>(
    table: T,
    columns: readonly C[],
    where?: Partial<Row<T>>,
  ): Promise<Pick<Row<T>, C>[]>;
  /** The same database as a user sees it, by the user's own JWT. */
  as(jwt: string): Database;
}

export interface Connection {
  url: string;
  /** A secret key; every call runs as service_role. */
  key: string;
  /** The key that travels beside a user's JWT; the secret key must not. */
  publishableKey?: string;
  /** Whether the keys are an edge function's own, so that a rejected one is no mistake of its caller. */
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

/** Milliseconds as SQL writes an interval. */
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
  // With an accessToken of our own supabase-js starts no session handling: no storage, no refresh timer.
  const client = createClient(url, key, {
    accessToken: () => Promise.resolve(token),
    db: { schema: "public", timeout: REPLY_WITHIN },
    global: { fetch: fetchExact },
  });
  return {
    as,
    async call<F extends FunctionName>(name: F, args: Args<F>) {
      const reply = await client.rpc(name, args);
      return dataOf(reply, credential) as Returns<F>; // the generated types say what this function returns
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

/** supabase-js parses replies by JSON.parse, which would round a bigint that SQL has dispatched without a word. */
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
