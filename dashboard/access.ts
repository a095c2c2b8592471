// Who may use the dashboard: the browser that opened the printed address first, for as long as it holds the session's cookie.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

const ENTROPY = 32; // bytes, for tokens and sessions

export interface Access {
  /** The token of the address to print. It signs in one browser; then there is another one. */
  readonly token: string;
  /** Uses the token up. @returns the new session's id, or undefined for a token that is wrong or was used */
  signIn(token: string): string | undefined;
  isSignedIn(session: string | undefined): boolean;
}

/** @param onSignIn called after a browser has signed in, when `token` is the next one */
export function createAccess(onSignIn: (access: Access) => void = () => {}): Access {
  let token = random();
  // Digests, so that the duration of a look-up reveals nothing about a session.
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
