// The types of transports: read from messenger_transports and cached, so that a dispatch rarely waits for the read.
import type { Clock } from "../clock.ts";
import type { Database } from "../db.ts";

const FRESH = 10_000; // ms
const USABLE = 60_000; // ms; between the two the cached types are used while they are read again

export interface TransportTypes {
  /** Undefined for a transport without a row. */
  typeOf(name: string): Promise<string | undefined>;
}

export function createTransportTypes(db: Database, clock: Clock): TransportTypes {
  let types = new Map<string, string>();
  let readAt = -Infinity;
  let reading: Promise<void> | undefined;

  const read = async () => {
    const rows = await db.read("messenger_transports", ["name", "type"]);
    types = new Map(rows.map(({ name, type }) => [name, type]));
    readAt = clock.now();
  };
  const refresh = () => reading ??= read().finally(() => reading = undefined);

  return {
    async typeOf(name) {
      const age = clock.now() - readAt;
      // An unknown name may be new. Only services can name transports, so a read for each one is safe.
      if (age > USABLE || !types.has(name)) await refresh();
      else if (age > FRESH) refresh().catch(() => {}); // the cached types are used; the next call tries again
      return types.get(name);
    },
  };
}
