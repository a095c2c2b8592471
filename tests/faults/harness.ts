// Producer and judge of the fault tests. The acknowledged ids are kept here, outside the database, as the reference.
import assert from "node:assert/strict";
import type { Project } from "../../supabase/local/project.ts";
import { eventually } from "../eventually.ts";

export interface Dispatch {
  type: string;
  payload: Record<string, unknown>;
  options?: Record<string, unknown>;
}

export interface Figures {
  messages: number;
  acknowledged: number;
  lost: number;
  duplicate_rows: number;
  /** Messages with more than one claim; an upper bound, because released unstarted ones are included. */
  handled_more_than_once: number;
  unexpected_dead: number;
  unfinished: number;
  stale_rejected: number;
  audit: number;
  drain_seconds: number;
}

export class Harness {
  readonly acknowledged = new Set<string>();
  readonly #lines: string[] = [];

  constructor(readonly project: () => Project) {}

  /** The project's log: the worker logs outcomes that came too late. */
  readonly log = (line: string) => void this.#lines.push(line);

  get staleRejected(): number {
    return this.#lines.filter((line) => line.includes("outcome came too late")).length;
  }

  /** Repeats a call until it is acknowledged, with the same key each time, as a producer should. Returns the id. */
  async produce({ type, payload, options = {} }: Dispatch): Promise<string> {
    const body = JSON.stringify({
      message: { type, payload },
      options: { idempotencyKey: crypto.randomUUID(), ...options },
    });
    const reply = await eventually("a dispatch is acknowledged", async () => {
      const response = await fetch(`${this.project().url}/functions/v1/dispatch`, {
        method: "POST",
        headers: { "content-type": "application/json", apikey: this.project().secretKey },
        body,
      });
      const reply = { status: response.status, body: await response.json() };
      // Only 503 may be repeated.
      return response.status !== 503 && reply;
    }, 90_000);
    assert.ok([200, 201].includes(reply.status), `${reply.status}: ${JSON.stringify(reply.body)}`);
    this.acknowledged.add(reply.body.messageId);
    return String(reply.body.messageId);
  }

  produceAll(dispatches: Dispatch[]): Promise<string[]> {
    return Promise.all(dispatches.map((dispatch) => this.produce(dispatch)));
  }

  /** Waits until every acknowledged message is finished, checks the promises and prints the figures. */
  async judge(title: string, within = 60_000): Promise<Figures> {
    const healed = Date.now();
    const { sql } = this.project();
    await eventually("every message is finished", async () => {
      const [{ open }] = await sql`select count(*)::int as open from messenger_messages where processed_at is null`;
      return open === 0;
    }, within).catch(() => {}); // the figures below show it better
    const rows = await sql<{ id: string; status: string; fence: string }[]>`
      select id, status, fence from messenger_messages`;
    const stored = new Map(rows.map((row) => [row.id, row]));
    const [{ audit }] = await sql`select sum(violations)::int as audit from messenger_audit()`;
    const figures: Figures = {
      messages: rows.length,
      acknowledged: this.acknowledged.size,
      lost: [...this.acknowledged].filter((id) => !stored.has(id)).length,
      duplicate_rows: rows.filter(({ id }) => !this.acknowledged.has(id)).length,
      handled_more_than_once: rows.filter(({ fence }) => Number(fence) > 1).length,
      unexpected_dead: rows.filter(({ status }) => status === "failed").length,
      unfinished: rows.filter(({ status }) => status === "pending" || status === "processing").length,
      stale_rejected: this.staleRejected,
      audit,
      drain_seconds: (Date.now() - healed) / 1_000,
    };
    console.log(`${title}: ${Object.entries(figures).map(([name, value]) => `${name} ${value}`).join(", ")}`);
    return figures;
  }

  /** The promises under every fault: nothing lost, doubled, dead or left behind, and no invariant violated. */
  assertSound(figures: Figures): void {
    const { lost, duplicate_rows, unexpected_dead, unfinished, audit } = figures;
    assert.deepEqual({ lost, duplicate_rows, unexpected_dead, unfinished, audit }, {
      lost: 0,
      duplicate_rows: 0,
      unexpected_dead: 0,
      unfinished: 0,
      audit: 0,
    });
    assert.equal(figures.messages, figures.acknowledged);
  }
}
