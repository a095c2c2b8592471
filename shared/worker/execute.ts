// Runs the handlers of deliveries: one by one, or those of one claim together if the type handles batches.
import { Batch } from "./handler_batch.ts";
import type { Json } from "../json.ts";
import type { MessageType } from "../message.ts";
import { type Execution, type HandlerRuntime, runHandler } from "./run_handler.ts";
import type { Delivery } from "../delivery.ts";

export type { Execution, HandlerRuntime } from "./run_handler.ts";

/** Starts the handler of a claimed message. `onProgress` gets each value that the handler reports. */
export function execute(delivery: Delivery, runtime: HandlerRuntime, onProgress: (value: Json) => void): Execution {
  const [execution] = executeGroup([delivery], runtime, (_index, value) => onProgress(value));
  return execution;
}

/**
 * Starts the handler of deliveries that may run together (see `groupForHandlers`).
 * @returns one execution each, in the same order
 */
export function executeGroup(
  deliveries: readonly Delivery[],
  runtime: HandlerRuntime,
  onProgress: (index: number, value: Json) => void,
): Execution[] {
  const batch = new Batch(deliveries.length, runtime);
  return deliveries.map((delivery, index) => {
    const execution = runHandler(
      delivery,
      runtime,
      (value) => onProgress(index, value),
      (messageType, payload, ctx) => {
        return messageType.handle ? messageType.handle(payload, ctx) : batch.join(index, messageType, payload, ctx);
      },
    );
    execution.result.then(() => batch.leave(index));
    return execution;
  });
}

/** Groups the messages of one claim: one group for each type that handles batches, all others one by one. */
export function groupForHandlers<T extends { delivery: Delivery }>(
  claimed: readonly T[],
  { registry }: HandlerRuntime,
): T[][] {
  const groups = new Map<MessageType | T, T[]>();
  for (const each of claimed) {
    const messageType = registry.find(each.delivery.message_type);
    const key = messageType?.handleBatch ? messageType : each;
    groups.set(key, [...groups.get(key) ?? [], each]);
  }
  return [...groups.values()];
}
