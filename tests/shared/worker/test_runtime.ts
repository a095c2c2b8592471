// Requirements of handlers in a test: no database, a silent log, a virtual clock.
import type { Database } from "../../../shared/db.ts";
import type { HandlerRuntime } from "../../../shared/worker/execute.ts";
import { createLog } from "../../../shared/log.ts";
import { createRegistry, type MessageType } from "../../../shared/message.ts";
import { VirtualClock } from "../virtual_clock.ts";

export const noDatabase: Database = {
  call: () => Promise.reject(new Error("no database in this test")),
  read: () => Promise.reject(new Error("no database in this test")),
  as: () => noDatabase,
};

/** The arguments of a call, whatever the function. */
export type CallArgs = Record<string, unknown>;

export interface ScriptedDatabase {
  db: Database;
  /** Calls of functions, oldest first. */
  calls: { name: string; args: CallArgs }[];
}

/** A database whose functions are those of the test: `reply` returns the result, or throws the failure. */
export function scriptedDatabase(reply: (name: string, args: CallArgs) => unknown = () => []): ScriptedDatabase {
  const calls: ScriptedDatabase["calls"] = [];
  const call = async (name: string, args: CallArgs) => {
    calls.push({ name, args });
    return await reply(name, args);
  };
  return { db: { ...noDatabase, call } as Database, calls }; // one script for every function
}

export function testHandlerRuntime(
  messageTypes: readonly MessageType[],
): HandlerRuntime & { clock: VirtualClock; lines: string[] } {
  const lines: string[] = [];
  return {
    registry: createRegistry(messageTypes),
    db: noDatabase,
    log: createLog({}, (line) => lines.push(line)),
    clock: new VirtualClock(),
    lines,
  };
}
