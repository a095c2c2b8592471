// The demo's thousand messages: their senders and their expected outcomes.
import type { Sql } from "postgres";
import type { Project } from "../../supabase/local/project.ts";
import { pause } from "../pause.ts";

export interface Kind {
  label: string;
  type: string;
  /** Expected number of messages. */
  messages: number;
  /** Expected number of their retries. */
  retries: number;
  /** Expected number of dead letters. */
  dead: number;
  send(app: App): Promise<Tally>;
}

/** Replies of the edge function. */
export interface Tally {
  accepted: number;
  duplicates: number;
}

interface Message {
  type: string;
  payload: Record<string, unknown>;
  metadata: { kind: string };
}

interface Dispatch {
  message: Message;
  options?: Record<string, unknown>;
}

export interface App {
  post(path: string, body: unknown, token?: string): Promise<{ status: number; body: unknown }>;
  sql: Sql;
  userToken: string;
  /** Whether each message needs an idempotency key. */
  patient: boolean;
}

const STORM = 50;
const ROLLED_BACK = 10;

export const KINDS: Kind[] = [
  batched("quick", "ExampleQuick", 500, () => ({ payload: {} })),
  batched("high priority", "ExampleQuick", 50, () => ({ payload: {}, options: { priority: 10 } })),
  batched("low priority", "ExampleQuick", 50, () => ({ payload: {}, options: { priority: 1 } })),
  batched("delayed 1-3 s", "ExampleQuick", 100, (n) => ({ payload: {}, options: { delay: 1000 + (n % 3) * 1000 } })),
  batched("slow, 200 ms", "ExampleSlow", 58, () => ({ payload: { ms: 200 } })),
  {
    ...batched("flaky, fails once or twice", "ExampleFlaky", 100, (n) => ({ payload: { failures: 1 + n % 2 } })),
    retries: 150,
  },
  {
    label: "hopeless",
    type: "ExampleHopeless",
    messages: 10,
    retries: 20,
    dead: 10,
    send: (app) => sendSingly(app, range(10).map(() => dispatchOf("hopeless", "ExampleHopeless", {}))),
  },
  {
    label: "one by one",
    type: "ExampleQuick",
    messages: 100,
    retries: 0,
    dead: 0,
    send: (app) => sendSingly(app, range(100).map(() => dispatchOf("one by one", "ExampleQuick", {}))),
  },
  {
    label: `storm: ${STORM} sends, one key`,
    type: "ExampleQuick",
    messages: 1,
    retries: 0,
    dead: 0,
    send: (app) =>
      sendSingly(
        app,
        range(STORM).map(() => ({
          ...dispatchOf(`storm: ${STORM} sends, one key`, "ExampleQuick", { order: 1 }),
          options: { idempotencyKey: "order-1-receipt" },
        })),
      ),
  },
  {
    label: "by a signed-in user",
    type: "ExampleUser",
    messages: 1,
    retries: 0,
    dead: 0,
    send: (app) =>
      sendSingly(app, [dispatchOf("by a signed-in user", "ExampleUser", { note: "Hello" })], app.userToken),
  },
  { label: "from SQL, with a row", type: "ExampleQuick", messages: 30, retries: 0, dead: 0, send: sendFromSql },
];

export const TOTAL = KINDS.reduce((sum, kind) => sum + kind.messages, 0);

/**
 * Calls the edge functions of this project and throws unless the call succeeds. A patient sender repeats failed calls,
 * each message under its own key, like a producer that must not lose messages.
 */
export async function openEdgeFunction(project: Project, patient: boolean): Promise<App> {
  await project.sql`create table demo_orders (id int primary key, placed_at timestamptz not null default now())`;
  const post: App["post"] = async (path, body, token) => {
    const response = await fetch(`${project.url}/functions/v1/${path}`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(token
          ? { apikey: project.publishableKey, authorization: `Bearer ${token}` }
          : { apikey: project.secretKey }),
      },
      body: JSON.stringify(body),
    });
    const reply: unknown = await response.json();
    if (response.status >= 300 || response.status === 207) {
      throw new Error(`POST /${path} returned ${response.status}: ${JSON.stringify(reply)}`);
    }
    return { status: response.status, body: reply };
  };
  return {
    sql: project.sql,
    userToken: await project.signUser({ sub: crypto.randomUUID() }),
    post: patient ? (path, body, token) => untilReplied(() => post(path, body, token)) : post,
    patient,
  };
}

async function untilReplied<T>(send: () => Promise<T>): Promise<T> {
  for (const giveUp = Date.now() + 60_000;;) {
    try {
      return await send();
    } catch (error) {
      if (Date.now() > giveUp) throw error;
      await pause(200);
    }
  }
}

function batched(
  label: string,
  type: string,
  messages: number,
  shape: (n: number) => { payload: Record<string, unknown>; options?: Record<string, unknown> },
): Kind {
  return {
    label,
    type,
    messages,
    retries: 0,
    dead: 0,
    async send(app) {
      const all = range(messages).map((n) => {
        const { payload, options } = shape(n);
        return { ...dispatchOf(label, type, payload), ...(options && { options }) };
      });
      for (let first = 0; first < all.length; first += 100) {
        await app.post("dispatch/batch", { messages: all.slice(first, first + 100).map((one) => keyed(one, app)) });
      }
      return { accepted: messages, duplicates: 0 };
    },
  };
}

function dispatchOf(kind: string, type: string, payload: Record<string, unknown>): Dispatch {
  return { message: { type, payload, metadata: { kind } } };
}

function keyed(dispatch: Dispatch, { patient }: App): Dispatch {
  return patient ? { ...dispatch, options: { idempotencyKey: crypto.randomUUID(), ...dispatch.options } } : dispatch;
}

async function sendSingly(app: App, dispatches: Dispatch[], token?: string): Promise<Tally> {
  const replies = await Promise.all(dispatches.map((dispatch) => app.post("dispatch", keyed(dispatch, app), token)));
  const duplicates = replies.filter(({ status }) => status === 200).length;
  return { accepted: replies.length - duplicates, duplicates };
}

// Each message is sent in one transaction with its order; a rolled back order rolls its message back.
async function sendFromSql({ sql }: App): Promise<Tally> {
  for (const id of range(30 + ROLLED_BACK)) {
    await sql.begin(async (tx) => {
      await tx`insert into demo_orders (id) values (${id})`;
      await tx`select messenger_dispatch('ExampleQuick', ${tx.json({ order: id })}, metadata => ${
        tx.json({ kind: "from SQL, with a row" })
      })`;
      if (id >= 30) throw new RolledBack();
    }).catch((error: unknown) => {
      if (!(error instanceof RolledBack)) throw error;
    });
  }
  return { accepted: 30, duplicates: 0 };
}

class RolledBack extends Error {}

function range(length: number): number[] {
  return Array.from({ length }, (_, n) => n);
}
