// Checks of message type definitions: every field within its bounds, every name used once.
import { z } from "zod";
import { name } from "./fields.ts";
import { validationError } from "./parse.ts";

/** The fields of a message type that its checks read. */
interface Definition {
  readonly type: string;
  readonly aliases?: readonly string[];
  readonly handle?: unknown;
  readonly handleBatch?: unknown;
}

/** Something wrong with one definition. */
export interface DefinitionFault {
  /** The type as its definition names it. */
  type: string;
  /** The path of the field, such as retry.delay. */
  field: string;
  /** A sentence that names type, field and allowed range. */
  message: string;
}

const LONGEST_DELAY = 86_400_000_000; // ms; the database has the same bound
const LONGEST_TIMEOUT = 2_147_483_647; // ms; a longer timer fires at once

const typeName = z.string().regex(/^[A-Za-z][A-Za-z0-9_.:-]{0,127}$/, {
  error: "expected a letter, then up to 127 letters, digits, _ . : or -",
});
const delay = z.int().min(0).max(LONGEST_DELAY).optional();
const isSchema = (value: unknown) => value instanceof Object && "_zod" in value;
const isFunction = (value: unknown) => typeof value === "function";

const definition = z.object({
  type: typeName,
  aliases: z.array(typeName).optional(),
  payload: z.custom(isSchema, { error: "expected a zod schema" }),
  route: z.strictObject({
    transport: name.optional(),
    queue: name.optional(),
    priority: z.int().min(1).max(10).optional(),
  }).optional(),
  retry: z.strictObject({
    maxRetries: z.int().min(0).max(100).optional(),
    delay,
    multiplier: z.number().min(1).max(100).optional(),
    maxDelay: delay,
    jitter: z.number().min(0).max(1).optional(),
  }).optional(),
  timeout: z.int().min(1).max(LONGEST_TIMEOUT).optional(),
  dispatchableBy: z.enum(["service", "user"]).optional(),
  handle: z.custom(isFunction, { error: "expected a function" }).optional(),
  handleBatch: z.custom(isFunction, { error: "expected a function" }).optional(),
});

/**
 * Checks definitions, each by itself and against the names of the others.
 * @returns the valid ones in their order, and every fault of the others
 */
export function checkDefinitions<T extends Definition>(
  messageTypes: readonly T[],
): { sound: T[]; faults: DefinitionFault[] } {
  const faultsOf = new Map(
    messageTypes.map((messageType): [unknown, DefinitionFault[]] => [messageType, ownFaults(messageType)]),
  );
  // If a type and an alias have the same name, in whatever order, the fault is the alias's.
  const owners = new Map<string, T>();
  const claim = (messageType: T, field: string, claimed: string) => {
    const owner = owners.get(claimed);
    if (owner === undefined) return void owners.set(claimed, messageType);
    const message = `${
      nameOf(messageType)
    }: ${field}: two message types are named ${claimed}, the other is ${owner.type}.`;
    faultsOf.get(messageType)?.push({ type: nameOf(messageType), field, message });
  };
  const sound = (messageType: T) => faultsOf.get(messageType)?.length === 0;
  for (const messageType of messageTypes.filter(sound)) claim(messageType, "type", messageType.type);
  for (const messageType of messageTypes.filter(sound)) {
    messageType.aliases?.forEach((alias, index) => claim(messageType, `aliases.${index}`, alias));
  }
  return { sound: messageTypes.filter(sound), faults: messageTypes.flatMap((each) => faultsOf.get(each) ?? []) };
}

function ownFaults(messageType: Definition): DefinitionFault[] {
  const type = nameOf(messageType);
  const { error } = definition.safeParse(messageType, { reportInput: true });
  const faults = (error?.issues ?? []).map((issue) => ({
    type,
    field: issue.path.join(".") || "definition",
    message: `${type}: ${validationError([issue], {}).message}`,
  }));
  if (messageType instanceof Object && (messageType.handle === undefined) === (messageType.handleBatch === undefined)) {
    faults.push({ type, field: "handle", message: `${type} needs one of handle and handleBatch.` });
  }
  return faults;
}

function nameOf(messageType: Definition): string {
  const named: unknown = messageType?.type;
  return typeof named === "string" && named !== "" ? named.slice(0, 128) : "A message type without a name";
}
