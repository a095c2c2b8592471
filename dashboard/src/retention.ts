// How long resolved dead letters can be read: the setting failed_retention of their transports.
import type { Transport } from "../../shared/operators/transports.ts";

const DEFAULT = "30 days"; // as in SQL

/**
 * The retention in words.
 * @param names the transports of the dead letters; all transports if it is undefined
 */
export function failedRetention(transports: Transport[], names?: string[]): string {
  const values = transports.filter(({ name }) => names === undefined || names.includes(name))
    .map(({ config }) => String(config.failed_retention ?? DEFAULT));
  const distinct = [...new Set(values.length > 0 ? values : [DEFAULT])];
  return distinct.length === 1 ? distinct[0] : `${distinct.join(" or ")}, depending on the transport`;
}
