// Registration of the code's message types with the database, once an isolate.
import type { Database } from "./db.ts";
import { type SymphonyError, toSymphonyError } from "./errors.ts";
import type { Log } from "./log.ts";
import type { Registration, Registry, RetryDefaults } from "./message.ts";

/**
 * Types travel together, and one by one where the database rejects them together: a definition that it rejects is logged
 * and keeps no other from being registered.
 * @returns a function that registers on its first call and shares the result; a database that failed is tried again
 */
export function createRegistration(
  db: Database,
  registry: Registry,
  log: Log,
  defaults?: RetryDefaults,
): () => Promise<void> {
  let registered: Promise<void> | undefined;
  const register = async () => {
    const types = registry.registration(defaults);
    const rejected = await registerEach(db, types, log);
    log.info("message types registered", {
      types: types.length - rejected,
      rejected: rejected || undefined,
      hash: await registry.hash(defaults),
    });
  };
  return () =>
    registered ??= register().catch((error: unknown) => {
      registered = undefined;
      throw error;
    });
}

async function registerEach(db: Database, types: Registration[], log: Log): Promise<number> {
  const call = (types: Registration[]) => db.call("messenger_register", { types });
  const error = await refusalOf(call(types));
  if (!error) return 0;
  let rejected = 0;
  let failure: SymphonyError | undefined;
  for (const type of types) {
    const error = await refusalOf(call([type]));
    if (!error) continue;
    rejected++;
    const { code, message: reason, hint } = error;
    log.error("message type rejected", { type: type.type, code, reason, hint });
    if (error.code === "SM_INTERNAL") failure ??= error;
  }
  // Not one definition at fault, but whatever the database or the project has in the way of all.
  if (failure && rejected === types.length) throw failure;
  return rejected;
}

/** The error of a call that trying again would not change. */
async function refusalOf(call: Promise<unknown>): Promise<SymphonyError | undefined> {
  try {
    await call;
  } catch (thrown) {
    const error = toSymphonyError(thrown);
    if (error.transient || error.code === "SM_UNAUTHENTICATED") throw error;
    return error;
  }
}
