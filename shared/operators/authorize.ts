// Operators: who may look at the bus, and who may steer it.
import { identify, type Keys } from "../http/auth.ts";
import { SymphonyError } from "../errors.ts";

/** What a user's `app_metadata.symphony_role` may say; an operator is a viewer too. */
export type OperatorRole = "viewer" | "operator";

/**
 * Lets services and users of at least this role pass. The role stands in app_metadata, which users cannot write themselves.
 * @returns who acts, for the log: a user's id, or "service"
 * @throws SymphonyError SM_UNAUTHENTICATED, or SM_FIELD_FORBIDDEN for users without the role
 */
export async function authorizeOperator(request: Request, keys: Keys, least: OperatorRole): Promise<string> {
  const caller = await identify(request, keys);
  if (caller.kind === "service") return "service";
  const role = roleOf(caller.claims.app_metadata);
  if (role === "operator" || role === least) return caller.claims.sub;
  throw new SymphonyError("SM_FIELD_FORBIDDEN", `This is for users with the symphony_role ${least}.`, {
    hint: `Set raw_app_meta_data of the user in auth.users to {"symphony_role": "${least}"}, then sign in again.`,
  });
}

function roleOf(metadata: unknown): unknown {
  return typeof metadata === "object" && metadata !== null && "symphony_role" in metadata
    ? metadata.symphony_role
    : undefined;
}
