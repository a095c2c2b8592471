// Reply bodies of the edge function dispatch: a stored message, a batch, and the state of a message.
import type { Row } from "../db.ts";
import { errorBody } from "../http/app.ts";
import { SymphonyError } from "../errors.ts";
import type { SendResult, Sent } from "../sender.ts";

export const STATE_COLUMNS = [
  "id",
  "message_type",
  "status",
  "progress",
  "result",
  "created_at",
  "available_at",
  "processed_at",
] as const;

export function sentBody(sent: Sent, idempotencyKey: string | undefined) {
  return {
    success: true,
    messageId: sent.id,
    transport: sent.transport,
    queue: sent.queue,
    ...availability("scheduledAt", sent),
    idempotencyKey: idempotencyKey ?? null,
    duplicate: sent.duplicate,
    status: sent.status,
    ...("result" in sent && { result: sent.result }),
  };
}

export function batchBody(results: SendResult[], idempotencyKeys: (string | undefined)[], requestId: string) {
  return {
    success: results.every((result) => !(result instanceof SymphonyError)),
    results: results.map((result, index) =>
      result instanceof SymphonyError
        ? { success: false, error: errorBody(result, requestId) }
        : sentBody(result, idempotencyKeys[index])
    ),
  };
}

export function stateBody(row: Pick<Row<"messenger_messages">, typeof STATE_COLUMNS[number]>) {
  return {
    id: row.id,
    type: row.message_type,
    status: row.status,
    progress: row.progress,
    result: row.result,
    createdAt: row.created_at,
    ...availability("availableAt", row),
    processedAt: row.processed_at,
  };
}

/**
 * An ordered message behind an unfinished one has the date infinity in the table; replies show null and `blocked`. A
 * message that ended with that date is not blocked.
 */
function availability<K extends string>(
  key: K,
  { available_at: at, status }: { available_at: string | null; status: string },
) {
  const hasDate = at !== null && at !== "infinity";
  return { [key]: hasDate ? at : null, ...(!hasDate && status === "pending" && { blocked: true }) };
}
