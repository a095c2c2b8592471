// Registration of the code's message types with the database, once an isolate.
import type { Database } from "./db.ts";
import type { Log } from "./log.ts";
import type { Registry, RetryDefaults } from "./message.ts";

/** Returns a function that registers on its first call and then only says when that was done; a failure is tried again. */
export function createRegistration(
  db: Database,
  registry: Registry,
  log: Log,
  defaults?: RetryDefaults,
): () => Promise<void> {
  let registered: Promise<void> | undefined;
  const register = async () => {
    const types = registry.registration(defaults);
    await db.call("messenger_register", { types });
    log.info("message types registered", { types: types.length, hash: await registry.hash(defaults) });
  };
  return () =>
    registered ??= register().catch((error: unknown) => {
      registered = undefined;
      throw error;
    });
}
