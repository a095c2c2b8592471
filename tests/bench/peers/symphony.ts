// This project, called in SQL as the shipped transport calls it: as service_role, with row level security and fencing
// tokens.
import postgres, { type Sql } from "postgres";
import type { Project } from "../../../supabase/local/project.ts";
import { pause } from "../../pause.ts";
import { type Drained, payloadOf, type Peer, type Plan } from "./peer.ts";

const TYPE = "BenchMessage";
const STOCK = 1_000; // messages per call

interface Claimed {
  id: string;
  fence: number;
}

export interface SymphonyOptions {
  connections?: number;
  /** Whether completed messages are kept (default retention) or deleted on completion (retention 0). */
  kept?: boolean;
}

export async function openSymphony(
  project: Project,
  { connections = 4, kept = true }: SymphonyOptions = {},
): Promise<Peer> {
  const sql = postgres(project.databaseUrl(), {
    max: connections,
    onnotice: () => {},
    connection: { role: "service_role", application_name: "bench" },
  });
  await sql`select messenger_register(${sql.json([{ type: TYPE }])})`;
  const options = () => kept ? {} : { retention: "0" };
  const setRetention = () =>
    project.sql`
    update messenger_transports set config = ${sql.json(options())} where name = 'supabase' and config <> ${
      sql.json(options())
    }`;
  const dispatchMany = (messages: { type: string; payload: unknown; delay?: string }[]) =>
    // plain JSON by construction
    sql`select * from messenger_dispatch_batch(${sql.json(messages as postgres.JSONValue)})`;
  return {
    name: "symphony",
    async empty() {
      await setRetention();
      await project
        .sql`truncate messenger_messages, messenger_failed_messages, messenger.attempts, messenger.workers,
          messenger.pruned`;
    },
    async stock(messages, delayed = false) {
      for (let done = 0; done < messages; done += STOCK * connections) {
        const sizes = Array.from(
          { length: connections },
          (_, n) => Math.min(STOCK, Math.max(0, messages - done - n * STOCK)),
        ).filter((size) => size > 0);
        await Promise.all(sizes.map((size) => dispatchMany(batchOf(size, delayed ? { delay: "1 day" } : {}))));
      }
    },
    async enqueue(n = 0) {
      await sql`select * from messenger_dispatch(${TYPE}, ${sql.json(payloadOf(n))})`;
    },
    async enqueueBatch(messages) {
      await dispatchMany(batchOf(messages));
    },
    async drain(plan) {
      await setRetention();
      return await drain(sql, plan);
    },
    async emptyPolls(polls) {
      const samples: number[] = [];
      for (let n = 0; n < polls; n++) {
        const begin = performance.now();
        const { claimed } = await exchange(sql, [], "bench", 100);
        samples.push(performance.now() - begin);
        if (claimed.length > 0) throw new Error("symphony: a message was due");
      }
      return samples;
    },
    close: () => sql.end({ timeout: 5 }),
  };
}

function batchOf(messages: number, options: { delay?: string } = {}) {
  return Array.from({ length: messages }, (_, n) => ({ type: TYPE, payload: payloadOf(n), ...options }));
}

async function exchange(sql: Sql, outcomes: unknown[], worker: string, batch: number): Promise<{ claimed: Claimed[] }> {
  const [{ reply }] = await sql<{ reply: { claimed: Claimed[] } }[]>`
    select messenger_exchange(${sql.json(outcomes as postgres.JSONValue)}, ${worker}, ${batch}, '60 s', null, null, ${[
    TYPE,
  ]}) as reply`;
  return reply;
}

/** Each consumer settles its messages together with its next claim, as the shipped consume loop does. */
async function drain(sql: Sql, { messages, consumers, batch, within, onHandled }: Plan): Promise<Drained> {
  let requested = 0;
  let handled = 0;
  const begin = performance.now();
  const consume = async (worker: string) => {
    let outcomes: unknown[] = [];
    while (performance.now() - begin < within && handled < messages) {
      const wanted = Math.min(batch, messages - requested);
      if (wanted <= 0) break;
      requested += wanted;
      const { claimed } = await exchange(sql, outcomes, worker, wanted);
      requested -= wanted - claimed.length;
      if (claimed.length === 0 && outcomes.length === 0) await pause(1);
      outcomes = claimed.map(({ id, fence }) => ({ id, fence, outcome: "completed", result: null, duration_ms: 0 }));
      handled += claimed.length;
      if (claimed.length > 0) onHandled?.(claimed.length);
    }
    if (outcomes.length > 0) {
      // plain JSON by construction
      await sql`select * from messenger_settle(${sql.json(outcomes as postgres.JSONValue)})`;
    }
  };
  await Promise.all(Array.from({ length: consumers }, (_, n) => consume(`bench-${n}`)));
  return { handled, ms: performance.now() - begin };
}
