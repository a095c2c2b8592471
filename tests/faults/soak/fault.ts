// A fault that the soak injects.
import type { Holder, SoakSetup } from "./setup.ts";

export interface SoakFault {
  id: string;
  what: string;
  /** The fault counts only if a worker of this kind has messages in flight. */
  affects: Holder;
  /** It stops Postgres or the ticker; the ticker's pace is not measured meanwhile. */
  stopsTicker?: true;
  inject(setup: SoakSetup): Promise<unknown>;
}
