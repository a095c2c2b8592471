// Batching without delay: messages that arrive while a call is in flight share the next call.
import { SymphonyError, toSymphonyError } from "../errors.ts";
import type { NewMessage, Sender, Sent } from "../sender.ts";

const MOST_MESSAGES = 1_000;
const MOST_BYTES = 4 * 1024 * 1024;

interface Waiting {
  message: NewMessage;
  bytes: number;
  resolve(sent: Sent): void;
  reject(error: SymphonyError): void;
}

export class Batcher {
  readonly #sender: Sender;
  #waiting: Waiting[] = [];
  #busy = false;

  constructor(sender: Sender) {
    this.#sender = sender;
  }

  /** @param bytes the message's size as JSON, at least roughly */
  send(message: NewMessage, bytes: number): Promise<Sent> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ message, bytes, resolve, reject });
      if (!this.#busy) this.#drain();
    });
  }

  /** Never rejects: every failure rejects the promise of its message. */
  async #drain(): Promise<void> {
    this.#busy = true;
    while (this.#waiting.length > 0) await this.#sendTogether(this.#take());
    this.#busy = false;
  }

  #take(): Waiting[] {
    let bytes = 0;
    let end = 0;
    while (end < this.#waiting.length && end < MOST_MESSAGES) {
      bytes += this.#waiting[end].bytes;
      if (end > 0 && bytes > MOST_BYTES) break;
      end++;
    }
    return this.#waiting.splice(0, end);
  }

  async #sendTogether(batch: Waiting[]): Promise<void> {
    try {
      const results = await this.#sender.send(batch.map(({ message }) => message), false);
      batch.forEach(({ resolve, reject }, index) => {
        const result = results[index] ??
          new SymphonyError("SM_INTERNAL", "The database returned no result for the message.");
        if (result instanceof SymphonyError) reject(result);
        else resolve(result);
      });
    } catch (thrown) {
      const error = toSymphonyError(thrown);
      // Nothing of a rejected call is stored: each message is sent again by itself and gets its own result.
      if (batch.length > 1 && !error.transient) { for (const waiting of batch) await this.#sendTogether([waiting]); }
      else for (const { reject } of batch) reject(error);
    }
  }
}
