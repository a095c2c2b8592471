// The environment variables of the project: their allowed values and defaults.
import { z } from "zod";

const SOONEST_STOP = 110_000; // ms; hosted isolates live 150 s on the free plan, and handlers in flight need the rest

const whole = (min: number, max: number) => {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.string().regex(/^\d+$/, { error }).transform(Number).pipe(z.number().min(min, { error }).max(max, { error }))
    .optional();
};
const decimal = (min: number, max: number) => {
  const error = `must be a number from ${min} to ${max}`;
  return z.string().regex(/^\d+(\.\d+)?$/, { error }).transform(Number)
    .pipe(z.number().min(min, { error }).max(max, { error })).optional();
};
const NAME = "must be 1 to 63 lower-case letters, digits, _ or -";
const matching = (pattern: RegExp, error: string) => z.string().regex(pattern, { error }).optional();
const FLAG = "must be true, false or a percentage from 0 to 100";
const flag = z.string().regex(/^(true|false|\d{1,3})$/, { error: FLAG })
  .transform((text) => text === "true" ? 100 : text === "false" ? 0 : Number(text))
  .pipe(z.number().max(100, { error: FLAG })).optional();

const json = <T extends z.ZodType>(schema: T, error: string) =>
  z.string().transform((text, context) => {
    try {
      return JSON.parse(text) as unknown; // JSON.parse returns any; the schema below checks it
    } catch {
      context.addIssue({ code: "custom", message: error });
      return z.NEVER;
    }
  }).pipe(schema).optional();
const KEYS = 'must be a JSON object of keys by name, such as {"default":"sb_..."}';
const keys = json(z.record(z.string(), z.string(), { error: KEYS }), KEYS);
const JWKS = 'must be a JSON Web Key Set, such as {"keys":[...]}';
const keySet = z.object({ keys: z.array(z.looseObject({ kty: z.string() })) }, { error: JWKS });
const jwks = json(z.preprocess((value) => Array.isArray(value) ? { keys: value } : value, keySet), JWKS);

const variables = z.object({
  SUPABASE_URL: z.url({ error: "must be the project's URL" }),
  SUPABASE_SECRET_KEYS: keys,
  SUPABASE_PUBLISHABLE_KEYS: keys,
  SUPABASE_SERVICE_ROLE_KEY: z.string().optional(),
  SUPABASE_ANON_KEY: z.string().optional(),
  SUPABASE_JWKS: jwks,
  SB_REGION: z.string().optional(),
  // Reserved for the rollout of cron jobs: checked, but without an effect in this release.
  SYMPHONY_ENABLED: flag,
  SYMPHONY_EMAIL_QUEUE_ENABLED: flag,
  SYMPHONY_CAMPAIGN_PROCESSING_ENABLED: flag,
  SYMPHONY_SMS_DRIP_ENABLED: flag,
  SYMPHONY_DEFAULT_TRANSPORT: matching(/^[a-z0-9][a-z0-9_-]{0,62}$/, NAME),
  SYMPHONY_DEFAULT_QUEUE: matching(/^[a-z0-9][a-z0-9_-]{0,62}$/, NAME),
  SYMPHONY_DEFAULT_PRIORITY: whole(1, 10),
  SYMPHONY_RETRY_MAX_RETRIES: whole(0, 100),
  SYMPHONY_RETRY_DELAY: whole(0, 86_400_000),
  SYMPHONY_RETRY_MULTIPLIER: decimal(1, 100),
  SYMPHONY_RETRY_MAX_DELAY: whole(0, 2_592_000_000),
  SYMPHONY_WORKER_BATCH_SIZE: whole(1, 1_000),
  SYMPHONY_WORKER_MAX_CONCURRENCY: whole(1, 1_000),
  SYMPHONY_WORKER_POLL_INTERVAL: whole(10, 60_000),
  SYMPHONY_WORKER_LEASE: whole(1_000, 43_200_000),
  SYMPHONY_WORKER_LINGER: whole(0, 3_600_000),
  SYMPHONY_WORKER_TIME_LIMIT: whole(1_000, 86_400_000),
  SYMPHONY_WORKER_MESSAGE_LIMIT: whole(1, 1_000_000_000),
  SYMPHONY_WORKER_SECRET: matching(
    /^(?!sb_|[\w-]+\.[\w-]+\.[\w-]*$)\S{16,}$/,
    "must have at least 16 characters and no spaces, and must not look like an API key or a JWT",
  ),
  SYMPHONY_JWT_ISSUER: matching(
    /^\S+$/,
    "must be an issuer, such as https://project.supabase.co/auth/v1, without spaces",
  ),
  SYMPHONY_JWT_AUDIENCE: matching(
    /^[^\s,]+$/,
    "must be one audience, such as authenticated, without spaces and commas",
  ),
  SYMPHONY_WEBHOOK_ALLOW_PRIVATE: z.enum(["true", "false"], { error: "must be true or false" }).optional(),
});

const ENDPOINT = "must be an http or https URL";
const endpoint = z.url({ protocol: /^https?$/, error: ENDPOINT }).optional();
const PAIRS = "must be name=value pairs between commas, values percent-encoded";
const pairs = z.string().transform((text, context) => {
  try {
    return text.split(",").filter((pair) => pair.trim() !== "").map(readPair);
  } catch {
    context.addIssue({ code: "custom", message: PAIRS });
    return z.NEVER;
  }
});
const HEADERS = "must be header=value pairs between commas, values percent-encoded";
const headerPair = z.tuple([
  z.string().regex(/^[\w!#$%&'*+.^`|~-]+$/, { error: HEADERS }),
  z.string().regex(/^[\t\x20-\x7e]*$/, { error: HEADERS }),
]);

/**
 * OpenTelemetry's own names. An invalid one disables traces only: it may be meant for other functions of the project.
 */
const traceVariables = z.object({
  OTEL_SDK_DISABLED: z.string().optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint,
  OTEL_EXPORTER_OTLP_HEADERS: pairs.pipe(z.array(headerPair)).optional(),
  OTEL_EXPORTER_OTLP_TIMEOUT: whole(1, 60_000),
  OTEL_SERVICE_NAME: z.string().optional(),
  OTEL_RESOURCE_ATTRIBUTES: pairs.optional(),
});

/** These enable a check: an empty one is an error, so that the check is not omitted silently. */
const NEVER_EMPTY = new Set(["SYMPHONY_JWT_ISSUER", "SYMPHONY_JWT_AUDIENCE"]);

/** An OTLP endpoint over HTTP that receives traces. */
export interface Collector {
  endpoint: string;
  headers: Record<string, string>;
  /** Milliseconds. */
  timeout: number;
}

/** The collector of traces, or the fault in the variables that name it. */
export type TraceSettings = { collector: Collector; resource: Record<string, string> } | { complaint: string };

export type Env = ReturnType<typeof readEnv>;

/**
 * Reads and checks the environment. An empty variable counts as unset, except those that enable a check.
 * @throws Error naming each invalid variable and its allowed values, never its value
 */
export function readEnv(source: Record<string, string | undefined> = Deno.env.toObject()) {
  const set = Object.fromEntries(
    Object.entries(source).filter(([name, value]) => value !== "" || NEVER_EMPTY.has(name)),
  );
  const parsed = variables.safeParse(set);
  if (!parsed.success) throw new Error(parsed.error.issues.map(complaint).join("; "));
  return { ...arrange(parsed.data), traces: readTraces(set) };
}

function complaint(issue: z.core.$ZodIssue): string {
  return `${String(issue.path[0])} ${issue.message}`;
}

/** Undefined if no collector is named, or traces are disabled. */
function readTraces(set: Record<string, string | undefined>): TraceSettings | undefined {
  const named = set.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? set.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (!named || set.OTEL_SDK_DISABLED?.trim().toLowerCase() === "true") return undefined;
  const parsed = traceVariables.safeParse(set);
  if (!parsed.success) return { complaint: parsed.error.issues.map(complaint).join("; ") };
  const v = parsed.data;
  const resource = Object.fromEntries(v.OTEL_RESOURCE_ATTRIBUTES ?? []);
  return {
    collector: {
      endpoint: v.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ??
        `${v.OTEL_EXPORTER_OTLP_ENDPOINT?.replace(/\/+$/, "")}/v1/traces`,
      headers: Object.fromEntries(v.OTEL_EXPORTER_OTLP_HEADERS ?? []),
      timeout: v.OTEL_EXPORTER_OTLP_TIMEOUT ?? 5_000,
    },
    resource: { ...resource, "service.name": v.OTEL_SERVICE_NAME ?? resource["service.name"] ?? "symphony-messenger" },
  };
}

/** @throws URIError if the value is not percent-encoded, Error if there is no name */
function readPair(pair: string): [name: string, value: string] {
  const [, name, value] = pair.match(/^\s*([^=\s]+)\s*=(.*)$/s) ?? [];
  if (name === undefined) throw new Error("no name");
  return [decodeURIComponent(name), decodeURIComponent(value.trim())];
}

function arrange(v: z.output<typeof variables>) {
  const secretKeys = { ...v.SUPABASE_SECRET_KEYS };
  // The legacy key is a further secret key: it is compared as a whole, without a check of its signature.
  if (v.SUPABASE_SERVICE_ROLE_KEY) secretKeys.service_role ??= v.SUPABASE_SERVICE_ROLE_KEY;
  const publishableKeys = { ...v.SUPABASE_PUBLISHABLE_KEYS };
  if (v.SUPABASE_ANON_KEY) publishableKeys.anon ??= v.SUPABASE_ANON_KEY;
  return {
    url: v.SUPABASE_URL,
    secretKeys,
    publishableKeys,
    jwks: v.SUPABASE_JWKS ?? null,
    /** Checks of access tokens beside signature and expiry. */
    jwt: { issuer: v.SYMPHONY_JWT_ISSUER, audience: v.SYMPHONY_JWT_AUDIENCE },
    region: v.SB_REGION ?? "local",
    /** Reserved: nothing reads them in this release. */
    flags: {
      enabled: v.SYMPHONY_ENABLED,
      emailQueue: v.SYMPHONY_EMAIL_QUEUE_ENABLED,
      campaignProcessing: v.SYMPHONY_CAMPAIGN_PROCESSING_ENABLED,
      smsDrip: v.SYMPHONY_SMS_DRIP_ENABLED,
    },
    defaults: {
      transport: v.SYMPHONY_DEFAULT_TRANSPORT,
      queue: v.SYMPHONY_DEFAULT_QUEUE,
      priority: v.SYMPHONY_DEFAULT_PRIORITY,
    },
    retry: {
      maxRetries: v.SYMPHONY_RETRY_MAX_RETRIES,
      delay: v.SYMPHONY_RETRY_DELAY,
      multiplier: v.SYMPHONY_RETRY_MULTIPLIER,
      maxDelay: v.SYMPHONY_RETRY_MAX_DELAY,
    },
    worker: {
      batchSize: v.SYMPHONY_WORKER_BATCH_SIZE ?? 10,
      maxConcurrency: v.SYMPHONY_WORKER_MAX_CONCURRENCY ?? 10,
      pollInterval: v.SYMPHONY_WORKER_POLL_INTERVAL ?? 50,
      /** Milliseconds until a message of a worker without heartbeats is delivered again. */
      lease: v.SYMPHONY_WORKER_LEASE ?? 60_000,
      linger: v.SYMPHONY_WORKER_LINGER ?? 5_000,
      timeLimit: v.SYMPHONY_WORKER_TIME_LIMIT ?? SOONEST_STOP,
      messageLimit: v.SYMPHONY_WORKER_MESSAGE_LIMIT ?? Infinity,
      secret: v.SYMPHONY_WORKER_SECRET,
    },
    /** Whether webhooks may be sent to private addresses and over plain http, for development. */
    webhook: { allowPrivate: v.SYMPHONY_WEBHOOK_ALLOW_PRIVATE === "true" },
  };
}
