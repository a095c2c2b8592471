// The shipped transport on a database connection: it calls the same SQL functions, without HTTP.
import type { Sql } from "postgres";
import type { Args, FunctionName, Returns } from "../../shared/db.ts";
import type { Receiver } from "../../shared/delivery.ts";
import { supabaseReceiver } from "../../shared/transports/supabase.ts";

export function directReceiver(sql: Sql): Receiver {
  return supabaseReceiver({
    async call<F extends FunctionName>(name: F, args: Args<F>) {
      const given = Object.entries(args as Record<string, never>).filter(([, value]) => value !== undefined);
      const names = given.map(([arg], index) => `${arg} => $${index + 1}`).join(", ");
      const rows = await sql.unsafe(`select * from public.${name}(${names})`, given.map(([, value]) => value), {
        prepare: true,
      });
      // A function that returns one value has one column with the function's name.
      const data = rows.columns.length === 1 && rows.columns[0].name === name ? rows[0][name] : [...rows];
      return data as Returns<F>; // the generated types are those of this function
    },
  });
}
