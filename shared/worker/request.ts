// Bodies of POST /worker and POST /scheduler: parsed and checked.
import { z } from "zod";
import type { Limits } from "./consume.ts";
import type { Env } from "../env.ts";
import type { ErrorCode } from "../errors.ts";
import { name } from "../fields.ts";
import { parse } from "../parse.ts";
import type { Selection } from "../delivery.ts";

const workerRequest = z.strictObject({
  transport: name.optional(),
  queues: z.array(name).min(1).max(100).optional(),
  batchSize: z.int().min(1).max(1_000).optional(),
  maxConcurrency: z.int().min(1).max(1_000).optional(),
  timeLimit: z.int().min(1).optional(),
  messageLimit: z.int().min(1).optional(),
});

const CODES: Record<string, ErrorCode> = { transport: "SM_TRANSPORT", queues: "SM_QUEUE", batchSize: "SM_BATCH" };

/**
 * The limits and the selection of a request; the environment's settings are the defaults. The request's timeLimit
 * counts from the run's start, the environment's from the isolate's.
 */
export function parseWorkerRequest(value: unknown, settings: Env["worker"]): { limits: Limits; selection: Selection } {
  const { transport, queues, batchSize, maxConcurrency, timeLimit, messageLimit } = parse(workerRequest, value, CODES);
  return {
    selection: {
      ...(transport !== undefined && { transport }),
      ...(queues && { queues: [...new Set(queues)].sort() }),
    },
    limits: {
      batchSize: batchSize ?? settings.batchSize,
      maxConcurrency: maxConcurrency ?? settings.maxConcurrency,
      pollInterval: settings.pollInterval,
      linger: settings.linger,
      timeLimit: settings.timeLimit,
      runLimit: timeLimit,
      messageLimit: messageLimit ?? settings.messageLimit,
    },
  };
}

const tickRequest = z.strictObject({ batch: z.int().min(1).max(1_000).optional() });

/** The body of POST /scheduler: `{"batch"?: 1 to 1,000}`, the number of rows that one step of a tick takes. */
export function parseTickRequest(value: unknown): { batch?: number } {
  return parse(tickRequest, value, { batch: "SM_BATCH" });
}
