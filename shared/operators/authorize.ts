// Authorizes operators by the role in their access token.
import { SymphonyError } from "../errors.ts";
import { identify, type Keys } from "../http/auth.ts";

/** The values of a user's `app_metadata.symphony_role`. An operator may do all that a viewer may. */
export type OperatorRole = "viewer" | "operator";

/**
 * Admits services, and users with at least this role. Users cannot change their own app_metadata, which holds the role.
 * @returns the actor for the log: a user's id, or "service"
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
