// The keys of the project, generated once per directory: API keys, signing key of user tokens, database password.
import { exportJWK, generateKeyPair, importJWK, type JSONWebKeySet, type JWK, type JWTPayload, SignJWT } from "jose";
import { join } from "node:path";

interface StoredKeys {
  databasePassword: string;
  publishableKey: string;
  secretKey: string;
  /** HS256 key of the legacy anon and service_role tokens. */
  legacy: JWK;
  /** ES256 key pair that signs users' tokens, as in new hosted projects. */
  signing: JWK;
  anonKey: string;
  serviceRoleKey: string;
}

export interface Keys extends Omit<StoredKeys, "legacy" | "signing"> {
  /** The public keys, which the project publishes. */
  publicJwks: JSONWebKeySet;
  /** The keys with which edge functions and the gateway verify tokens, including the legacy secret. */
  verifyingJwks: JSONWebKeySet;
  signUser(claims: UserClaims, options?: SignOptions): Promise<string>;
}

export interface UserClaims extends JWTPayload {
  sub: string;
}

export interface SignOptions {
  /** Seconds from now; negative for an expired token; default: 3,600. */
  expiresIn?: number;
}

/** Reads the keys of the directory; generates them at first use. */
export async function loadKeys(directory: string): Promise<Keys> {
  const path = join(directory, "keys.json");
  const stored = await readStored(path) ?? await makeKeys(path);
  const { legacy, signing, ...shown } = stored;
  const { d: _private, ...publicKey } = signing;
  const privateKey = await importJWK(signing, "ES256");
  return {
    ...shown,
    publicJwks: { keys: [publicKey] },
    verifyingJwks: { keys: [publicKey, legacy] },
    signUser(claims, { expiresIn = 3600 } = {}) {
      const now = Math.floor(Date.now() / 1000);
      const payload = { role: "authenticated", aud: "authenticated", iat: now, exp: now + expiresIn, ...claims };
      return new SignJWT(payload).setProtectedHeader({ alg: "ES256", typ: "JWT", kid: signing.kid }).sign(privateKey);
    },
  };
}

async function readStored(path: string): Promise<StoredKeys | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function makeKeys(path: string): Promise<StoredKeys> {
  // HS256 needs a kid too: @supabase/server finds the key of a JWKS by the token's kid.
  const legacy: JWK = { kty: "oct", alg: "HS256", use: "sig", kid: crypto.randomUUID(), k: random(32) };
  const pair = await generateKeyPair("ES256", { extractable: true });
  const signing: JWK = { ...await exportJWK(pair.privateKey), alg: "ES256", use: "sig", kid: crypto.randomUUID() };
  const stored: StoredKeys = {
    databasePassword: random(24),
    publishableKey: `sb_publishable_${random(24)}`,
    secretKey: `sb_secret_${random(24)}`,
    legacy,
    signing,
    anonKey: await signLegacy("anon", legacy),
    serviceRoleKey: await signLegacy("service_role", legacy),
  };
  // Renamed when complete: with an incomplete file the project could not open its own database.
  await Deno.writeTextFile(`${path}.making`, JSON.stringify(stored, null, 2), { mode: 0o600 });
  await Deno.rename(`${path}.making`, path);
  return stored;
}

async function signLegacy(role: string, key: JWK): Promise<string> {
  const year = 365 * 24 * 3600;
  const now = Math.floor(Date.now() / 1000);
  return await new SignJWT({ iss: "supabase", ref: "local", role, iat: now, exp: now + 10 * year })
    .setProtectedHeader({ alg: "HS256", typ: "JWT", kid: key.kid })
    .sign(await importJWK(key, "HS256"));
}

function random(bytes: number): string {
  return crypto.getRandomValues(new Uint8Array(bytes)).toBase64({ alphabet: "base64url", omitPadding: true });
}
