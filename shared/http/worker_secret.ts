// The worker secret: the environment's when it is set, otherwise those in Vault, whose digests are read once a minute.
import { timingSafeEqual } from "node:crypto";
import type { WorkerSecret } from "./auth.ts";
import type { Clock } from "../clock.ts";
import type { Database } from "../db.ts";
import { SymphonyError } from "../errors.ts";
import { sha256 } from "../sha256.ts";

const FRESH = 60_000; // ms; a secret that was removed from Vault is accepted for at most this long
const BETWEEN_READS = 1_000; // ms; wrong secrets cause one read per second, and a new secret is found as soon

/**
 * @param configured SYMPHONY_WORKER_SECRET, which wins over Vault
 * @returns a check that rejects with SM_UNAVAILABLE while the digests in Vault cannot be read
 */
export function createWorkerSecret(db: Database, clock: Clock, configured: string | undefined): WorkerSecret {
  if (configured === undefined) return vaultSecret(db, clock);
  const expected = sha256(configured);
  return { matches: async (secret) => isAmong([await expected], await sha256(secret)) };
}

function vaultSecret(db: Database, clock: Clock): WorkerSecret {
  let digests: readonly string[] = [];
  let readAt = -Infinity;
  let startedAt = -Infinity;
  let isReading = false;
  let latest = Promise.resolve();

  const read = async (): Promise<void> => {
    isReading = true;
    startedAt = clock.now();
    try {
      digests = await db.call("messenger_worker_secret_digests", {});
      readAt = startedAt;
    } catch (error) {
      throw unavailable(error);
    } finally {
      isReading = false;
    }
  };
  // Callers that come together, or within a second, share one read and its failure.
  const refresh = (): Promise<void> => isReading || clock.now() - startedAt < BETWEEN_READS ? latest : latest = read();

  return {
    async matches(secret) {
      const digest = await sha256(secret);
      if (clock.now() - readAt < FRESH && isAmong(digests, digest)) return true;
      await refresh();
      return isAmong(digests, digest);
    },
  };
}

/** Compares with every digest, each in constant time. */
function isAmong(digests: readonly string[], digest: string): boolean {
  return digests.map((known) => timingSafeEqual(bytes(known), bytes(digest))).includes(true);
}

/** The caller's secret is not at fault, whatever the database rejected. */
function unavailable(error: unknown): SymphonyError {
  if (error instanceof SymphonyError && error.transient) return error;
  return new SymphonyError("SM_UNAVAILABLE", "The worker secret cannot be checked right now.", { cause: error });
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
