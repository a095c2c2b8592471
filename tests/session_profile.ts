// Session settings that change how Postgres prints, reads and isolates. The bus must behave the same under them.
import type { Sql } from "postgres";
import type { ProjectOptions } from "../supabase/local/project.ts";

/**
 * Settings that a project's databases, roles or connection strings may have; SYMPHONY_TEST_PROFILE=hostile runs tests
 * under them.
 */
const HOSTILE = {
  settings: {
    DateStyle: "SQL, DMY",
    IntervalStyle: "sql_standard",
    // Postgres prints its abbreviation IST and reads that as the time of Israel.
    TimeZone: "Asia/Kolkata",
    quote_all_identifiers: "on",
    extra_float_digits: "-15",
    bytea_output: "escape",
    transform_null_equals: "on",
    default_transaction_isolation: "serializable",
    default_transaction_deferrable: "on",
  },
  // upper('i') is a dotted I.
  icuLocale: "tr",
};

export const isHostile = Deno.env.get("SYMPHONY_TEST_PROFILE") === "hostile";

/**
 * Settings of the sessions in races, whose statements are compared as text and whose interleavings need read committed.
 */
export const RACE_SETTINGS = { default_transaction_isolation: "read committed", quote_all_identifiers: "off" };

/** Start options of this run's projects; the isolation that a test needs takes precedence. */
export function sessionProfile(isolation?: string): Pick<ProjectOptions, "settings" | "icuLocale"> {
  if (!isHostile) return {};
  const settings = { ...HOSTILE.settings };
  if (isolation) settings.default_transaction_isolation = isolation;
  return { ...HOSTILE, settings };
}

/** Makes the driver parse timestamps in the profile's format: it expects ISO. */
export function readProfileDates(sql: Sql): void {
  if (!isHostile) return;
  for (const type of [1082, 1114, 1184]) sql.options.parsers[type] = readDate;
}

// 28/11/2026, 28/11/2026 16:53:00.123456, 28/11/2026 16:53:00.123456 IST
function readDate(text: string): Date {
  const [, day, month, year, time = "00:00:00", zone] = /^(\d+)\/(\d+)\/(\d+)(?: ([\d:.]+))?( IST)?/.exec(text) ?? [];
  return new Date(year ? `${year}-${month}-${day}T${time.slice(0, 12)}${zone ? "+05:30" : ""}` : text);
}
