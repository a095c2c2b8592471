// A transaction like PostgREST's: the API role is set locally, with the token's claims.
import type { Sql, TransactionSql } from "postgres";

export type ApiRole = "anon" | "authenticated" | "service_role";

/** Runs the work as an API role, signed in as the given user, if any. */
export async function asRole<Result>(
  sql: Sql,
  role: ApiRole,
  work: (transaction: TransactionSql) => Promise<Result>,
  user?: string,
): Promise<Result> {
  let result: Result;
  await sql.begin(async (transaction) => {
    const claims = JSON.stringify(user ? { role, sub: user } : { role });
    await transaction`select set_config('request.jwt.claims', ${claims}, true), set_config('role', ${role}, true)`;
    result = await work(transaction);
  });
  return result!;
}
