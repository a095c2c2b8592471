// The worker secret: the environment's when set, else Vault's, asked once a minute.
import { timingSafeEqual } from "node:crypto";
import type { WorkerSecret } from "./auth.ts";
import type { Clock } from "./clock.ts";
import type { Database } from "./db.ts";
import { sha256 } from "./sha256.ts";

const KEPT = 60_000; // ms
const MOST = 100; // answers; a flood of wrong secrets must not fill the isolate

/** @param configured SYMPHONY_WORKER_SECRET, which wins over Vault */
export function createWorkerSecret(db: Database, clock: Clock, configured: string | undefined): WorkerSecret {
  const answers = new Map<string, { answer: boolean; until: number }>();

  const ask = async (secret: string, digest: string): Promise<boolean> => {
    const known = answers.get(digest);
    if (known && clock.now() < known.until) return known.answer;
    const answer = await db.call("messenger_check_worker_secret", { secret });
    answers.delete(digest);
    const [oldest] = answers.keys();
    if (answers.size >= MOST) answers.delete(oldest);
    answers.set(digest, { answer, until: clock.now() + KEPT });
    return answer;
  };

  return {
    async matches(secret) {
      const digest = await sha256(secret);
      if (configured === undefined) return await ask(secret, digest);
      return timingSafeEqual(bytes(digest), bytes(await sha256(configured)));
    },
  };
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
