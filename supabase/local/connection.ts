// One database connection that says when it is lost, and a pool of them that never reuses a lost one.
// postgres.js's own pool is not used where Postgres may be killed under it: after a loss inside `begin` it writes its
// rollback to a socket that is gone, which ends the process with an uncaught TypeError (3.4.9).
import postgres from "postgres";

export class ConnectionLost extends Error {
  readonly code = "CONNECTION_LOST";
  constructor() {
    super("The connection to Postgres was lost");
  }
}

/** True for what a stopped or starting Postgres answers: that is for its owner to report. */
export function isDown(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return /^(CONN|EC|57P|EPIPE)/.test(code);
}

export interface Connection {
  readonly lost: boolean;
  /** Statements sent without awaiting the one before travel together. Rejects with ConnectionLost when the answer cannot come. */
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
  // A first statement, because a reservation that fails to connect would silently try again.
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
          .then((rows) => resolve(rows as unknown as Row[]), reject) // the caller names the columns it selects
          .finally(() => waiting.delete(reject));
      });
    },
    close: () => sql.end({ timeout: 0 }),
  };
}

export interface Pool {
  /** Lends a connection; statements that `work` left running finish before the next borrower's. */
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

  // A place is handed over to the next in the queue, or freed.
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
