// Identifies the caller: the role and claims that the apikey and Authorization headers of a request prove.
import { errors, importJWK, type JWTPayload, jwtVerify, type JWTVerifyGetKey } from "jose";
import { ApiError } from "./api_error.ts";
import type { Keys } from "./keys.ts";

export interface Caller {
  role: string;
  /** The claims as JSON text, for the setting request.jwt.claims. */
  claims: string;
}

export interface Identifier {
  /** The caller of a data API request; throws ApiError 401 like the hosted API gateway and PostgREST. */
  identify(request: Request): Promise<Caller>;
  /** The claims of a valid token of this project; throws ApiError 401. */
  verify(token: string): Promise<JWTPayload>;
}

interface Verified {
  payload: JWTPayload;
  caller: Caller;
}

// Verifying ES256 takes about as long as a trivial rpc; PostgREST caches tokens too.
const CACHED_TOKENS = 1_000;

export function createIdentifier(keys: Keys): Identifier {
  const tokens = new Map<string, Verified>();
  const opaque = new Map([[keys.publishableKey, keys.anonKey], [keys.secretKey, keys.serviceRoleKey]]);
  const legacy = new Set([keys.anonKey, keys.serviceRoleKey]);
  const keyOf = createKeyLookup(keys);

  async function verified(token: string): Promise<Verified> {
    const cached = tokens.get(token);
    if (cached && (cached.payload.exp ?? Infinity) > Date.now() / 1000) return cached;
    const payload = await verifyToken(token, keyOf);
    const role = typeof payload.role === "string" ? payload.role : "anon";
    const fresh = { payload, caller: { role, claims: JSON.stringify({ ...payload, role }) } };
    if (tokens.size >= CACHED_TOKENS) tokens.clear();
    tokens.set(token, fresh);
    return fresh;
  }

  return {
    async identify(request) {
      const apikey = request.headers.get("apikey") ?? new URL(request.url).searchParams.get("apikey");
      if (!apikey) {
        throw new ApiError(401, "401", "No API key found in request", null, "No `apikey` request header was found.");
      }
      const keyToken = legacy.has(apikey) ? apikey : opaque.get(apikey);
      if (!keyToken) throw new ApiError(401, "401", "Invalid API key", null, "Double check your Supabase API key.");
      const bearer = bearerOf(request);
      // supabase-js sends an sb_ key in both headers; then only the apikey counts.
      return (await verified(bearer && !opaque.has(bearer) ? bearer : keyToken)).caller;
    },
    verify: async (token) => (await verified(token)).payload,
  };
}

export function bearerOf(request: Request): string | undefined {
  return /^bearer\s+(.*)$/i.exec(request.headers.get("authorization") ?? "")?.[1].trim();
}

function createKeyLookup({ verifyingJwks }: Keys): JWTVerifyGetKey {
  return ({ kid, alg }) => {
    // A key serves its own algorithm only: a public key must never be taken for an HMAC secret.
    const key = verifyingJwks.keys.find((candidate) => candidate.alg === alg && (!kid || candidate.kid === kid));
    if (!key) throw new errors.JWKSNoMatchingKey();
    return importJWK(key, alg);
  };
}

async function verifyToken(token: string, keyOf: JWTVerifyGetKey): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, keyOf)).payload;
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw new ApiError(401, "PGRST303", "JWT expired");
    if (error instanceof errors.JWTClaimValidationFailed) throw new ApiError(401, "PGRST303", error.message);
    const parts = token.split(".").length;
    if (parts !== 3) throw new ApiError(401, "PGRST301", `Expected 3 parts in JWT; got ${parts}`);
    if (error instanceof errors.JWKSNoMatchingKey) {
      throw new ApiError(401, "PGRST301", "No suitable key or wrong key type");
    }
    throw new ApiError(401, "PGRST301", "JWT cryptographic operation failed");
  }
}
