// The edge functions, as the page calls them: through the server that has the key.

export interface Check {
  name: string;
  status: "healthy" | "degraded" | "unhealthy";
  detail: string;
  remedy?: string;
}
export interface Health {
  status: Check["status"];
  checks: Check[];
}
/** A retry of dead letters at a rate. */
export interface Replay {
  id: string;
  per_second: number;
  total: number;
  completed: number;
  dead: number;
  returned: number;
  remaining: number;
  stop_reason: string | null;
  finished_at: string | null;
}
export interface Status {
  queue: { depth: number; processing: number; completed: number; estimated: boolean };
  dead_letters: number;
  transports: { name: string; enabled: boolean }[];
  replays: Replay[];
  timestamp: string;
}
export interface Point {
  at: string;
  dispatched: number;
  completed: number;
  failed: number;
  p50: number | null;
  p95: number | null;
}
export interface Metrics {
  totalProcessed: number;
  totalDispatched: number;
  totalRetried: number;
  totalFailed: number;
  successRate: number | null;
  p95ProcessingTime: number | null;
  errors: { errorClass: string; messageType: string; error: string; count: number; lastAt: string }[];
  series: Point[];
  stepSeconds: number;
}
export interface Queue {
  transport_name: string;
  queue_name: string;
  paused_at: string | null;
  transport_enabled: boolean | null;
  pending: number;
  due: number;
  delayed: number;
  blocked: number;
  processing: number;
  oldest_due_at: string | null;
  /** When it was last resumed or its transport last changed: nothing in it was overdue before. */
  runs_since: string | null;
  estimated: boolean;
  awake_workers: number;
}
export interface Worker {
  worker: string;
  types: string[] | null;
  queues: string[] | null;
  started_at: string;
  polled_at: string;
  awake: boolean;
  processing: number;
}
export interface Message {
  id: string;
  message_type: string;
  transport_name: string;
  queue_name: string;
  priority: number;
  status: "pending" | "processing" | "completed" | "failed";
  available_at: string | null;
  blocked: boolean;
  created_at: string;
  processed_at: string | null;
  retry_count: number;
  max_retries: number;
  error_class: string | null;
  last_error: string | null;
  locked_by: string | null;
  lock_expires_at: string | null;
  cancel_requested_at: string | null;
  ordering_key: string | null;
  idempotency_key: string | null;
  created_by: string | null;
}
export interface Attempt {
  at: string;
  worker: string | null;
  error: string | null;
  error_class: string | null;
  error_trace?: string | null;
  duration_ms: number | null;
}
export interface FullMessage extends Message {
  body: unknown;
  headers: unknown;
  metadata: unknown;
  result: unknown;
  progress: unknown;
  locked_at: string | null;
  expires_at: string | null;
  attempts: Attempt[];
  dead_letters: { id: string; failed_at: string; resolution: string | null }[];
}
export interface Reason {
  reason: string;
  detail: string;
  remedy: string | null;
}
export interface Letter {
  id: string;
  message_id: string;
  transport_name: string;
  queue_name: string;
  message_type: string;
  error: string | null;
  error_class: string | null;
  retry_count: number;
  failed_at: string;
  resolution: string | null;
}
export interface FullDeadLetter extends Letter {
  body: unknown;
  headers: unknown;
  error_trace: string | null;
  attempts: Attempt[];
  created_at: string;
}
export interface Schedule {
  name: string;
  message_type: string;
  transport_name: string;
  queue_name: string;
  body: unknown;
  headers: unknown;
  schedule_type: string;
  schedule_config: { cron?: string; interval?: number; at?: string; startAt?: string };
  timezone: string;
  next_run_at: string | null;
  last_run_at: string | null;
  run_count: number;
  max_runs: number | null;
  enabled: boolean;
  starts_at: string | null;
  ends_at: string | null;
  misfire: string;
  misfire_grace_ms: number;
  catch_up_limit: number;
  dst_gap: string;
  dst_overlap: string;
  overlap: string;
  jitter_ms: number;
  last_error: string | null;
  last_message_id?: string | null;
  last_message_status?: string | null;
}
export interface Run {
  runAt: string | null;
  localTime: string;
  note: string | null;
}
export interface Transport {
  name: string;
  type: string;
  config: unknown;
  enabled: boolean;
}
export interface Page {
  hasMore: boolean;
  nextCursor: string | null;
  total: number;
  estimated: boolean;
  searchedTo?: string | null;
}

/** What an edge function rejected, with what to do about it. */
export class Refusal extends Error {
  override name = "Refusal";
  constructor(message: string, readonly code: string, readonly hint: string) {
    super(message);
  }
}

// For those who look at a page, not for programs that call an edge function.
const HINTS: Record<string, string> = {
  SM_UNAVAILABLE: "The page keeps asking. Is the project running? Locally: npm start",
  SM_FILTER: "Change the search.",
};

const MARK = { "x-symphony-dashboard": "1" };

/** Asks the monitor; query values that are empty do not travel. */
export async function look<T>(path: string, query: Record<string, string | number | undefined> = {}): Promise<T> {
  const requested = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const search = new URLSearchParams(requested.map(([name, value]) => [name, String(value)]));
  // An unhealthy bus answers 503 with its checks: that is an answer.
  const reply = await fetch(`/monitor/${path}${requested.length ? `?${search}` : ""}`, { headers: MARK });
  return await read<T>(reply, path === "health");
}

/**
 * A request with a payload as it was typed: JSON.parse would round a 64-bit id in it, which the edge function rejects.
 * @param payload a JSON text
 */
export function withPayload(payload: string, rest: Record<string, unknown> = {}): string {
  const fields = JSON.stringify(rest).slice(1, -1);
  return `{${fields}${fields && ","}"payload":${payload}}`;
}

/**
 * Tells the admin to do something.
 * @param body an object, or a JSON text
 */
export async function act<T = unknown>(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<T> {
  const reply = await fetch(`/admin/${path}`, {
    method,
    headers: body === undefined ? MARK : { ...MARK, "content-type": "application/json" },
    body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
  });
  return await read<T>(reply, false);
}

async function read<T>(reply: Response, evenFailing: boolean): Promise<T> {
  const body = await reply.json().catch(() => undefined);
  if (reply.ok || evenFailing && body && !body.error) return body as T; // the edge functions' document says what each call answers
  const { message, code = "", hint } = body?.error ?? {};
  throw new Refusal(message ?? `The project answered ${reply.status}.`, code, HINTS[code] ?? hint ?? "");
}
