// Registers the message types of the code with the database, once per isolate.
import type { Database } from "./db.ts";
import { type SymphonyError, toSymphonyError } from "./errors.ts";
import type { Log } from "./log.ts";
import type { Registration, Registry, RetryDefaults } from "./message.ts";

/**
 * All types are registered in one call. If the database rejects it, they are registered one by one, so that a rejected
 * definition is logged and keeps no other from being registered.
 * @returns a function that registers at its first call; later calls share the result, or try again after a failure
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
  const error = await rejectionOf(call(types));
  if (!error) return 0;
  let rejected = 0;
  let failure: SymphonyError | undefined;
  for (const type of types) {
    const error = await rejectionOf(call([type]));
    if (!error) continue;
    rejected++;
    const { code, message: reason, hint } = error;
    log.error("message type rejected", { type: type.type, code, reason, hint });
    if (error.code === "SM_INTERNAL") failure ??= error;
  }
  // The cause is not a definition but the database or the project: it rejects every type.
  if (failure && rejected === types.length) throw failure;
  return rejected;
}

/** The error of a call that would fail again; one that may pass is thrown. */
async function rejectionOf(call: Promise<unknown>): Promise<SymphonyError | undefined> {
  try {
    await call;
  } catch (thrown) {
    const error = toSymphonyError(thrown);
    if (error.transient || error.code === "SM_UNAUTHENTICATED") throw error;
    return error;
  }
}
