// A database connection that reports its loss, and a pool that never reuses a lost one.
// postgres.js's own pool is not used where Postgres may be killed: after a loss inside `begin` it writes its rollback
// to a closed socket, which ends the process with an uncaught TypeError (3.4.9).
import postgres from "postgres";

export class ConnectionLost extends Error {
  readonly code = "CONNECTION_LOST";
  constructor() {
    super("The connection to Postgres was lost");
  }
}

/** Whether an error means that Postgres is stopped or starting, which its owner reports. */
export function isDown(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return /^(CONN|EC|57P|EPIPE)/.test(code);
}

export interface Connection {
  readonly lost: boolean;
  /** Statements that are not awaited one by one are sent together. Rejects with ConnectionLost if the reply is lost. */
  query<Row>(text: string, values?: string[]): Promise<Row[]>;
  close(): Promise<void>;
}

export async function connect(url: string): Promise<Connection> {
  const waiting = new Set<(error: Error) => void>();
  let lost = false;
  const sql = postgres(url, {
    max: 1,
    fetch_types: false,
    idle_timeout: undefined,
    max_lifetime: null,
    onnotice: () => {},
    onclose() {
      lost = true;
      for (const reject of waiting) reject(new ConnectionLost());
    },
  });
  // A statement first, because a reservation that cannot connect silently tries again.
  await sql.unsafe("select");
  const reserved = await sql.reserve();
  return {
    get lost() {
      return lost;
    },
    query<Row>(text: string, values: string[] = []) {
      return new Promise<Row[]>((resolve, reject) => {
        if (lost) return reject(new ConnectionLost());
        waiting.add(reject);
        reserved.unsafe<postgres.Row[]>(text, values, { prepare: true })
          .then((rows) => resolve(rows as unknown as Row[]), reject) // the caller selects the columns of Row
          .finally(() => waiting.delete(reject));
      });
    },
    close: () => sql.end({ timeout: 0 }),
  };
}

export interface Pool {
  /** Passes a connection to `work`. Statements that are still running then finish before those of the next user. */
  use<Result>(work: (connection: Connection) => Promise<Result>): Promise<Result>;
  close(): Promise<void>;
}

export function createPool(url: string, size: number): Pool {
  const all = new Set<Connection>();
  const idle: Connection[] = [];
  const queue: (() => void)[] = [];
  let busy = 0;

  async function borrow(): Promise<Connection> {
    if (busy >= size) await new Promise<void>((resolve) => queue.push(resolve));
    else busy++;
    for (let connection = idle.pop(); connection; connection = idle.pop()) {
      if (!connection.lost) return connection;
      all.delete(connection);
    }
    try {
      const fresh = await connect(url);
      all.add(fresh);
      return fresh;
    } catch (error) {
      leave();
      throw error;
    }
  }

  // The next in the queue takes the connection's slot; without a queue the slot is freed.
  function leave() {
    const next = queue.shift();
    if (next) next();
    else busy--;
  }

  return {
    async use(work) {
      const connection = await borrow();
      try {
        return await work(connection);
      } finally {
        if (connection.lost) all.delete(connection);
        else idle.push(connection);
        leave();
      }
    },
    async close() {
      await Promise.all([...all].map((connection) => connection.close()));
    },
  };
}
