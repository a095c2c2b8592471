// Identifies the caller of an edge function: a service with a secret key, a user with an access token, or a ticker with
// the worker secret.
import { verifyCredentials } from "@supabase/server/core";
import { type ClaimFault, type Claims, findOriginFault, findTimeFault } from "./claims.ts";
import type { Env } from "../env.ts";
import { SymphonyError } from "../errors.ts";

export type Caller = { kind: "service" } | { kind: "user"; jwt: string; claims: Claims };

/** The keys of the project, and the issuer and audience of its tokens. */
export type Keys = Pick<Env, "url" | "secretKeys" | "publishableKeys" | "jwks" | "jwt">;

export interface WorkerSecret {
  matches(secret: string): Promise<boolean>;
}

/**
 * Identifies the caller. A bearer token takes precedence over the apikey header, so a valid key cannot hide an invalid
 * token.
 * @throws SymphonyError SM_UNAUTHENTICATED
 */
export async function identify(request: Request, keys: Keys): Promise<Caller> {
  const { token, apikey } = credentialsOf(request);
  if (token && await isSecretKey(token, keys)) return { kind: "service" };
  // Clients send their publishable key as a bearer token while no user is signed in.
  if (token && !token.startsWith("sb_publishable_")) return await callerOf(token, keys);
  if (apikey && await isSecretKey(apikey, keys)) return { kind: "service" };
  throw unauthenticated("The request carries neither a secret key nor a user's access token.");
}

/**
 * Accepts services and callers with the worker secret.
 * @throws SymphonyError SM_UNAUTHENTICATED, or SM_FIELD_FORBIDDEN for users
 */
export async function authorizeWorker(request: Request, keys: Keys, workerSecret: WorkerSecret): Promise<void> {
  const { token } = credentialsOf(request);
  // A token that looks like a key or a JWT is not a worker secret: it must not cause a read of the digests.
  if (token && !token.startsWith("sb_") && !isJwt(token)) {
    if (await workerSecret.matches(token)) return;
    throw unauthenticated("The worker secret is wrong.");
  }
  const caller = await identify(request, keys);
  if (caller.kind === "service") return;
  throw new SymphonyError("SM_FIELD_FORBIDDEN", "This edge function does not accept users.", {
    hint: "Send the worker secret as a bearer token, or a secret key.",
  });
}

/** The name of the scheme is not case-sensitive: a valid key must not hide an invalid token behind "bearer". */
function credentialsOf({ headers }: Request): { token: string | undefined; apikey: string | null } {
  return { token: headers.get("authorization")?.match(/^bearer +(\S.*)$/i)?.[1], apikey: headers.get("apikey") };
}

async function isSecretKey(credential: string, keys: Keys): Promise<boolean> {
  const { error } = await verifyCredentials({ token: null, apikey: credential }, {
    auth: "secret:*",
    env: environment(keys),
  });
  return error === null;
}

async function callerOf(jwt: string, keys: Keys): Promise<Caller> {
  const { data, error } = await verifyCredentials({ token: jwt, apikey: null }, {
    auth: "user",
    env: environment(keys),
  });
  const now = Date.now() / 1_000;
  const claims: Claims | null = error ? null : data.jwtClaims;
  // Unverified claims decide the error message only: an expired token is distinguished from a forged one.
  if (!claims) throw invalid(findUnverifiedFault(jwt, now));
  const fault = findTimeFault(claims, now) ?? findOriginFault(claims, keys.jwt);
  if (fault) throw invalid(fault);
  if (claims.role === "service_role") return { kind: "service" };
  if (claims.role !== "authenticated") {
    throw unauthenticated("The access token belongs to no user: its role must be authenticated.");
  }
  return { kind: "user", jwt, claims };
}

const UNVERIFIED: ClaimFault = {
  message: "The access token is not valid: it is malformed, or signed with another key.",
  hint: "Send an access token of this project's issuer, with exp and sub.",
};

/** The fault of a token that could not be verified, as far as its claims show it. */
function findUnverifiedFault(jwt: string, now: number): ClaimFault {
  try {
    const payload = jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    return findTimeFault(JSON.parse(new TextDecoder().decode(bytes)), now) ?? UNVERIFIED;
  } catch {
    return UNVERIFIED;
  }
}

function environment({ url, secretKeys, publishableKeys, jwks }: Keys) {
  return { url, secretKeys, publishableKeys, jwks };
}

function isJwt(token: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(token);
}

function invalid({ message, hint }: ClaimFault): SymphonyError {
  return new SymphonyError("SM_UNAUTHENTICATED", message, { hint });
}

function unauthenticated(message: string): SymphonyError {
  return new SymphonyError("SM_UNAUTHENTICATED", message);
}
