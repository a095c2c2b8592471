// Which type each transport has: a small read of messenger_transports that the hot path rarely waits for.
import type { Clock } from "../clock.ts";
import type { Database } from "../db.ts";

const FRESH = 10_000; // ms
const USABLE = 60_000; // ms; between the two the old answer is given while a new one is fetched

export interface TransportTypes {
  /** Undefined for a transport without a row. */
  typeOf(name: string): Promise<string | undefined>;
}

export function createTransportTypes(db: Database, clock: Clock): TransportTypes {
  let known = new Map<string, string>();
  let readAt = -Infinity;
  let reading: Promise<void> | undefined;

  const read = async () => {
    const rows = await db.read("messenger_transports", ["name", "type"]);
    known = new Map(rows.map(({ name, type }) => [name, type]));
    readAt = clock.now();
  };
  const refresh = () => reading ??= read().finally(() => reading = undefined);

  return {
    async typeOf(name) {
      const age = clock.now() - readAt;
      // An unknown name may have been made just now; only services can name transports, so asking each time is safe.
      if (age > USABLE || !known.has(name)) await refresh();
      else if (age > FRESH) refresh().catch(() => {}); // the old answer serves; the next call tries again
      return known.get(name);
    },
  };
}
