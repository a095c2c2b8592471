// A fault as the soak strikes with it.
import type { Ground, Holder } from "./setup.ts";

export interface Blow {
  fault: string;
  what: string;
  /** Whose messages must be in flight for it to count. */
  hits: Holder;
  /** It stops Postgres or the ticker, whose pace does not count meanwhile. */
  stopsTicker?: true;
  strike(ground: Ground): Promise<unknown>;
}
