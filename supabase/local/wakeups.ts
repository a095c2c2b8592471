// Sends the HTTP requests that the stand-in for pg_net has queued, like pg_net: after commit, at most 200 at a time.
import { connect, type Connection, isDown } from "./connection.ts";

const BATCH = 200;
const POLL_MS = 1_000;
const KEEP_RESPONSES = "6 hours";

/** Counts the requests and simulates their faults. */
export interface WakeupControl {
  /** From now on drops this share (0 to 1) of the requests instead of sending them. */
  drop(share: number): void;
  /** From now on sends this share (0 to 1) of the requests twice. */
  double(share: number): void;
  readonly sent: number;
  readonly dropped: number;
}

export interface WakeupSender extends WakeupControl {
  stop(): Promise<void>;
}

/** The sender of a project without functions: requests stay in the queue. */
export const NO_WAKEUPS: WakeupSender = {
  drop: () => {},
  double: () => {},
  sent: 0,
  dropped: 0,
  stop: () => Promise.resolve(),
};

interface QueuedRequest {
  id: string;
  method: string;
  url: string;
  headers: Record<string, string> | null;
  body: Uint8Array<ArrayBuffer> | null;
  timeout_milliseconds: number;
}

interface RecordedResponse {
  id: string;
  status_code: number | null;
  content_type: string | null;
  headers: Record<string, string> | null;
  content: string | null;
  timed_out: boolean | null;
  error_msg: string | null;
}

export interface WakeupOptions {
  /** Connects as a role that may delete from net.http_request_queue. */
  databaseUrl: string;
  /** Calls back after the commit of a transaction that called net.wake(); calls may be lost. */
  onWake(callback: () => void): void;
  log(line: string): void;
}

export function sendWakeups({ databaseUrl, onWake, log }: WakeupOptions): WakeupSender {
  const share = { dropped: 0, doubled: 0 };
  const count = { sent: 0, dropped: 0 };
  const stopping = new AbortController();
  let wake = () => {};
  let connection: Connection | undefined;
  let pruned = 0;
  onWake(() => wake());
  const running = run();

  async function run() {
    while (!stopping.signal.aborted) {
      const woken = new Promise<void>((resolve) => wake = resolve);
      try {
        connection ??= await connect(databaseUrl);
        await prune(connection);
        if (await sendBatch(connection) === BATCH) continue;
      } catch (error) {
        // The next attempt uses a new connection: the transaction of this one is rolled back.
        await connection?.close();
        connection = undefined;
        if (!isDown(error) && !stopping.signal.aborted) log(`pg_net stand-in: ${error}`);
      }
      // A notification may have been lost with a connection, so the queue is read every second too.
      if (!stopping.signal.aborted) await pauseUntil(woken);
    }
    await connection?.close();
  }

  async function prune(connection: Connection) {
    if (Date.now() - pruned < 60_000) return;
    await connection.query(`delete from net._http_response where created < now() - interval '${KEEP_RESPONSES}'`);
    pruned = Date.now();
  }

  // The queue's rows are deleted in the transaction that records the responses: a crash in between sends again.
  async function sendBatch(connection: Connection): Promise<number> {
    const [, requests] = await Promise.all([connection.query("begin"), connection.query<QueuedRequest>(TAKE)]);
    if (requests.length === 0) {
      await connection.query("commit");
      return 0;
    }
    const responses = (await Promise.all(requests.map(deliver))).filter((response) => response !== undefined);
    await Promise.all([connection.query(RECORD, [JSON.stringify(responses)]), connection.query("commit")]);
    return requests.length;
  }

  async function deliver(request: QueuedRequest): Promise<RecordedResponse | undefined> {
    if (Math.random() < share.dropped) {
      count.dropped++;
      return undefined;
    }
    count.sent++;
    if (Math.random() < share.doubled) {
      count.sent++;
      await send(request, stopping.signal);
    }
    return await send(request, stopping.signal);
  }

  return {
    drop: (value) => void (share.dropped = value),
    double: (value) => void (share.doubled = value),
    get sent() {
      return count.sent;
    },
    get dropped() {
      return count.dropped;
    },
    async stop() {
      stopping.abort();
      wake();
      await running;
    },
  };
}

const TAKE = `
with batch as (select id from net.http_request_queue order by id limit ${BATCH})
delete from net.http_request_queue as q using batch where q.id = batch.id
returning q.id, q.method, q.url, q.headers, q.body, q.timeout_milliseconds`;

const RECORD = `
insert into net._http_response (id, status_code, content_type, headers, content, timed_out, error_msg)
select id, status_code, content_type, headers, content, timed_out, error_msg
from json_populate_recordset(null::net._http_response, $1::text::json)`;

async function pauseUntil(woken: Promise<void>) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([woken, new Promise((resolve) => timer = setTimeout(resolve, POLL_MS))]);
  clearTimeout(timer);
}

async function send(
  { id, method, url, headers, body, timeout_milliseconds }: QueuedRequest,
  stopping: AbortSignal,
): Promise<RecordedResponse> {
  const none = {
    id,
    status_code: null,
    content_type: null,
    headers: null,
    content: null,
    timed_out: null,
    error_msg: null,
  };
  try {
    const response = await fetch(url, {
      method: method.toUpperCase(),
      headers: headers ?? {},
      body,
      redirect: "manual",
      signal: AbortSignal.any([stopping, AbortSignal.timeout(timeout_milliseconds)]),
    });
    return {
      ...none,
      status_code: response.status,
      content_type: response.headers.get("content-type"),
      headers: Object.fromEntries(response.headers),
      // text columns cannot hold NUL
      content: (await response.text()).replaceAll("\0", ""),
      timed_out: false,
    };
  } catch (error) {
    // Without a record the request is sent again by the next run.
    if (stopping.aborted) throw error;
    const timedOut = error instanceof DOMException && error.name === "TimeoutError";
    const message = error instanceof Error ? error.message : String(error);
    return {
      ...none,
      timed_out: timedOut,
      error_msg: timedOut ? `Timeout of ${timeout_milliseconds} ms reached.` : message,
    };
  }
}
