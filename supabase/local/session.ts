// Runs one transaction per request with the caller's role, in one round trip: begin, settings, statement and commit.
import { toApiError } from "./api_error.ts";
import type { Snapshot } from "./catalog.ts";
import type { Pool } from "./connection.ts";
import type { Caller } from "./identity.ts";

export interface Statement {
  text: string;
  /** Text values; the statement casts them. */
  values: string[];
  readOnly: boolean;
}

export interface Reply {
  /** JSON text from Postgres, passed on unparsed. */
  body: string | null;
  rows: number;
  total?: number;
}

/**
 * Runs a statement that returns one row `body, rows[, total]`.
 * @throws ApiError for every failure
 */
export async function runAs(
  pool: Pool,
  caller: Caller,
  request: Request,
  snapshot: Snapshot,
  { text, values, readOnly }: Statement,
): Promise<Reply> {
  const settings = Object.entries({
    search_path: "public, extensions",
    role: caller.role,
    "request.jwt.claims": caller.claims,
    "request.method": request.method,
    "request.path": new URL(request.url).pathname,
    "request.headers": JSON.stringify(Object.fromEntries(request.headers)),
    ...snapshot.settings.get(caller.role),
  });
  const assignments = settings.map(([name], i) => `set_config('${name}', $${i + 1}::text, true)`).join(", ");
  try {
    // If one of them fails, the later ones fail too and the commit rolls back; the first error is thrown.
    return await pool.use(async (connection) => {
      const [, , [reply]] = await Promise.all([
        connection.query(readOnly ? "begin read only" : "begin read write"),
        connection.query(`select ${assignments}`, settings.map(([, value]) => value)),
        connection.query<Reply>(text, values),
        connection.query("commit"),
      ]);
      return reply;
    });
  } catch (error) {
    throw toApiError(error, caller.role);
  }
}

/** An SQL identifier, always quoted. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
