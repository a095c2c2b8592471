// The worker secret: SYMPHONY_WORKER_SECRET, or else those in Vault, whose digests are read once per minute.
import { timingSafeEqual } from "node:crypto";
import type { WorkerSecret } from "./auth.ts";
import type { Clock } from "../clock.ts";
import type { Database } from "../db.ts";
import { SymphonyError } from "../errors.ts";
import { sha256 } from "../sha256.ts";

const FRESH = 60_000; // ms; a secret that was removed from Vault is accepted for at most this long
const BETWEEN_READS = 1_000; // ms; wrong secrets cause one read per second, and a new secret is found within it

/**
 * @param configured SYMPHONY_WORKER_SECRET, which takes precedence over Vault
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
  // Calls at the same time, or within a second, share one read and its failure.
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
  return digests.map((expected) => timingSafeEqual(bytes(expected), bytes(digest))).includes(true);
}

/** Every failure of the read is SM_UNAVAILABLE: it does not make the caller's secret wrong. */
function unavailable(error: unknown): SymphonyError {
  if (error instanceof SymphonyError && error.transient) return error;
  return new SymphonyError("SM_UNAVAILABLE", "The worker secret cannot be checked right now.", { cause: error });
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
