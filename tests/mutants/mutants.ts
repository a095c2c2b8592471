// All planted bugs. SYMPHONY_MUTANT names the one that is planted in the projects of a test run (tests/project.ts).
import type { Sql } from "postgres";
import { ACCESS } from "./access.ts";
import { CLAIMING } from "./claiming.ts";
import { COMPLETING } from "./completing.ts";
import { DEFINING } from "./defining.ts";
import { DELIVERY_SETTINGS } from "./delivery_settings.ts";
import { DISPATCHING } from "./dispatching.ts";
import { KEEPING } from "./retention.ts";
import { LIVING } from "./lifecycle.ts";
import { LOCKING } from "./locking.ts";
import { MEASURING } from "./measuring.ts";
import { type Mutant, plant, readSchemas } from "./mutant.ts";
import { PLAIN } from "./plain.ts";
import { RESTORING } from "./restoring.ts";
import { SETTLING } from "./settling.ts";
import { STORING } from "./storing.ts";
import { TAKING } from "./taking.ts";
import { TELLING } from "./events.ts";
import { TICKER_SETTINGS } from "./ticker_settings.ts";
import { TICKING } from "./ticking.ts";
import { WAITING } from "./waiting.ts";
import { WATCHING } from "./health.ts";

export const MUTANTS: readonly Mutant[] = [
  ...ACCESS,
  ...DEFINING,
  ...DISPATCHING,
  ...STORING,
  ...PLAIN,
  ...CLAIMING,
  ...WAITING,
  ...TAKING,
  ...SETTLING,
  ...COMPLETING,
  ...DELIVERY_SETTINGS,
  ...KEEPING,
  ...LIVING,
  ...LOCKING,
  ...MEASURING,
  ...TELLING,
  ...TICKING,
  ...TICKER_SETTINGS,
  ...WATCHING,
  ...RESTORING,
];

/** Plants the named bug in a migrated database. */
export async function infect(sql: Pick<Sql, "unsafe">, name: string): Promise<void> {
  const mutant = MUTANTS.find((mutant) => mutant.name === name);
  if (!mutant) throw new Error(`SYMPHONY_MUTANT: there is no mutant named "${name}"`);
  await sql.unsafe(plant(mutant, readSchemas())).simple().catch((error: unknown) => {
    throw new Error(`the mutant "${name}" cannot be planted: ${error}`);
  });
}
