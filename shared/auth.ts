// Who calls a door: a service with a secret key, a user with an access token, or a clock with the worker secret.
import { extractCredentials, verifyCredentials } from "@supabase/server/core";
import type { Env } from "./env.ts";
import { SymphonyError } from "./errors.ts";

export type Caller = { kind: "service" } | { kind: "user"; jwt: string; claims: Claims };

export interface Claims {
  sub: string;
  role?: string;
  [claim: string]: unknown;
}

export type Keys = Pick<Env, "url" | "secretKeys" | "publishableKeys" | "jwks">;

export interface WorkerSecret {
  matches(secret: string): Promise<boolean>;
}

/**
 * Finds out who calls. A bearer token decides before the apikey header, so a bad token is never helped by a good key.
 * @throws SymphonyError SM_UNAUTHENTICATED
 */
export async function identify(request: Request, keys: Keys): Promise<Caller> {
  const { token, apikey } = extractCredentials(request);
  if (token && await isSecretKey(token, keys)) return { kind: "service" };
  // Clients send their publishable key as a token where nobody is signed in.
  if (token && !token.startsWith("sb_publishable_")) return await callerOf(token, keys);
  if (apikey && await isSecretKey(apikey, keys)) return { kind: "service" };
  throw nobody("The request carries neither a secret key nor a user's access token.");
}

/**
 * Lets services and the holder of the worker secret pass.
 * @throws SymphonyError SM_UNAUTHENTICATED, or SM_FIELD_FORBIDDEN for users
 */
export async function authorizeWorker(request: Request, keys: Keys, workerSecret: WorkerSecret): Promise<void> {
  const { token } = extractCredentials(request);
  // A token that looks like a key or a JWT is no worker secret: it must not cost a question to the database.
  if (token && !token.startsWith("sb_") && !isJwt(token)) {
    if (await workerSecret.matches(token)) return;
    throw nobody("The worker secret is wrong.");
  }
  const caller = await identify(request, keys);
  if (caller.kind === "service") return;
  throw new SymphonyError("SM_FIELD_FORBIDDEN", "This door is not for users.", {
    hint: "Send the worker secret as a bearer token, or a secret key.",
  });
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
  const claims = data?.jwtClaims;
  if (error || !claims) throw nobody("The access token is not valid: garbled, expired, or signed by somebody else.");
  if (claims.role === "service_role") return { kind: "service" };
  if (claims.role !== "authenticated") throw nobody("The access token is nobody's: its role is not authenticated.");
  return { kind: "user", jwt, claims };
}

function environment({ url, secretKeys, publishableKeys, jwks }: Keys) {
  return { url, secretKeys, publishableKeys, jwks };
}

function isJwt(token: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(token);
}

function nobody(message: string): SymphonyError {
  return new SymphonyError("SM_UNAUTHENTICATED", message);
}
