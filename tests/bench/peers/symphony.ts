// This project, called in SQL as the shipped transport calls it: as service_role, with row level security and fencing
// tokens.
import postgres, { type Sql } from "postgres";
import type { Project } from "../../../supabase/local/project.ts";
import { type Consumer, drainBy, stockBy, timePolls } from "./drain.ts";
import { type ExchangeForm, json, type Lease, outcomesOf } from "./exchange_form.ts";
import { payloadOf, type Peer } from "./peer.ts";

export const TYPE = "BenchMessage";
const STOCK = 1_000; // messages per call

export interface SymphonyOptions {
  connections?: number;
  /** Whether completed messages are kept (default retention) or deleted on completion (retention 0). */
  kept?: boolean;
  /** The form of the exchange; default: JSON, as the shipped transport uses it. */
  form?: ExchangeForm;
}

export async function openSymphony(
  project: Project,
  { connections = 4, kept = true, form = json }: SymphonyOptions = {},
): Promise<Peer> {
  const sql = connectAsService(project, connections);
  await sql`select messenger_register(${sql.json([{ type: TYPE }])})`;
  const options = () => kept ? {} : { retention: "0" };
  const setRetention = () =>
    project.sql`
    update messenger_transports set config = ${sql.json(options())} where name = 'supabase' and config <> ${
      sql.json(options())
    }`;
  return {
    name: form.bus,
    title: `${form.bus}, ${kept ? "kept" : "deleted"}`,
    async empty() {
      await setRetention();
      await project
        .sql`truncate messenger_messages, messenger_failed_messages, messenger.attempts, messenger.workers,
          messenger.pruned`;
    },
    stock(messages, delayed = false) {
      const delay = delayed ? { delay: "1 day" } : {};
      return stockBy(messages, { perCall: STOCK, connections }, (count) => dispatchMany(sql, batchOf(count, delay)));
    },
    async enqueue(n = 0) {
      await sql`select * from messenger_dispatch(${TYPE}, ${sql.json(payloadOf(n))})`;
    },
    async enqueueBatch(messages) {
      await dispatchMany(sql, batchOf(messages));
    },
    async drain(plan) {
      await setRetention();
      return await drainBy(plan, (worker) => consumer(sql, form, worker));
    },
    emptyPolls: (polls) =>
      timePolls(
        polls,
        async () => (await form.exchange(sql, [], { worker: "bench", batch: 100, type: TYPE })).length,
      ),
    close: () => sql.end({ timeout: 5 }),
  };
}

/** Connections with the role of servers. */
export function connectAsService(project: Project, connections: number): Sql {
  return postgres(project.databaseUrl(), {
    max: connections,
    onnotice: () => {},
    connection: { role: "service_role", application_name: "bench" },
  });
}

export async function dispatchMany(sql: Sql, messages: { type: string; payload: unknown }[]): Promise<void> {
  // plain JSON by construction
  await sql`select * from messenger_dispatch_batch(${sql.json(messages as postgres.JSONValue)})`;
}

function batchOf(messages: number, options: { delay?: string } = {}) {
  return Array.from({ length: messages }, (_, n) => ({ type: TYPE, payload: payloadOf(n), ...options }));
}

/** Settles its messages together with its next claim, as the shipped consume loop does. */
function consumer(sql: Sql, form: ExchangeForm, worker: string): Consumer {
  let leases: readonly Lease[] = [];
  return {
    async claim(batch) {
      leases = await form.exchange(sql, leases, { worker, batch, type: TYPE });
      return leases.length;
    },
    async finish() {
      if (leases.length > 0) await sql`select * from messenger_settle(${outcomesOf(sql, leases)})`;
    },
  };
}
