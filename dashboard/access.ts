// Sign-in to the dashboard: the first browser that opens the printed address gets a session, stored in a cookie.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

const ENTROPY = 32; // bytes, for tokens and sessions

export interface Access {
  /** The token of the printed address. It signs in one browser, and is then replaced. */
  readonly token: string;
  /** Replaces the token. @returns the new session's id, or undefined if the token is wrong or was used */
  signIn(token: string): string | undefined;
  isSignedIn(session: string | undefined): boolean;
}

/** @param onSignIn called after a sign-in, when `token` is already the next one */
export function createAccess(onSignIn: (access: Access) => void = () => {}): Access {
  let token = random();
  // Digests, because the duration of a look-up could reveal a session's id.
  const sessions = new Set<string>();
  const access: Access = {
    get token() {
      return token;
    },
    signIn(given) {
      if (!timingSafeEqual(digest(given), digest(token))) return undefined;
      token = random();
      const session = random();
      sessions.add(digest(session).toString("hex"));
      onSignIn(access);
      return session;
    },
    isSignedIn: (session) => session !== undefined && sessions.has(digest(session).toString("hex")),
  };
  return access;
}

function random(): string {
  return randomBytes(ENTROPY).toString("base64url");
}

function digest(text: string) {
  return createHash("sha256").update(text).digest();
}
