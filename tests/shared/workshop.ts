// What handlers need to run in a test: no database, a silent log, a clock that jumps.
import type { Database } from "../../shared/db.ts";
import type { Workshop } from "../../shared/execute.ts";
import { createLog } from "../../shared/log.ts";
import { createRegistry, type MessageType } from "../../shared/message.ts";
import { VirtualClock } from "./virtual_clock.ts";

export const noDatabase: Database = {
  call: () => Promise.reject(new Error("no database in this test")),
  read: () => Promise.reject(new Error("no database in this test")),
  as: () => noDatabase,
};

export function testWorkshop(
  messageTypes: readonly MessageType[],
): Workshop & { clock: VirtualClock; lines: string[] } {
  const lines: string[] = [];
  return {
    registry: createRegistry(messageTypes),
    db: noDatabase,
    log: createLog({}, (line) => lines.push(line)),
    clock: new VirtualClock(),
    lines,
  };
}
