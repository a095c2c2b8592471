// Checks of an access token's claims: validity period, issuer and audience.

export interface Claims {
  sub: string;
  role?: string;
  [claim: string]: unknown;
}

/** Issuer and audience of the tokens that this project accepts; undefined ones are not checked. */
export interface TokenSettings {
  issuer: string | undefined;
  audience: string | undefined;
}

/** The fault of a token, and the remedy for its holder or issuer. */
export interface ClaimFault {
  message: string;
  hint: string;
}

const YEAR_10000 = 253_402_300_800; // seconds; a number of milliseconds is larger
const CLOCK_SKEW = 30; // seconds that an issuer's clock may be ahead, as PostgREST allows

/**
 * Checks the claims that limit the validity period of a token.
 * @param now seconds since 1970
 */
export function findTimeFault({ exp, nbf, iat }: Record<string, unknown>, now: number): ClaimFault | undefined {
  if (exp === undefined) {
    return fault("The access token has no exp claim, so it would never expire.", "Sign access tokens with exp.");
  }
  if (!isMoment(exp)) return notAMoment("exp");
  if (exp <= now) return fault("The access token has expired.", "Refresh the session and send the new access token.");
  if (nbf !== undefined && !isMoment(nbf)) return notAMoment("nbf");
  if (nbf !== undefined && nbf > now) return fault("The access token is not valid yet: see its nbf claim.", CLOCKS);
  if (iat !== undefined && !isMoment(iat)) return notAMoment("iat");
  if (iat !== undefined && iat > now + CLOCK_SKEW) {
    return fault("The access token was issued in the future: see its iat claim.", CLOCKS);
  }
}

/** Checks subject, issuer and audience of a token. */
export function findOriginFault({ sub, iss, aud }: Claims, settings: TokenSettings): ClaimFault | undefined {
  if (sub.trim() === "") {
    return fault("The sub claim of the access token is empty.", "Sign access tokens with the user's id as sub.");
  }
  if (settings.issuer !== undefined && iss !== settings.issuer) {
    return fault(
      "The access token has another issuer than this project accepts.",
      "Send a token whose iss claim equals SYMPHONY_JWT_ISSUER.",
    );
  }
  const audiences: unknown[] = Array.isArray(aud) ? aud : [aud];
  if (settings.audience !== undefined && !audiences.includes(settings.audience)) {
    return fault(
      "The access token is for another audience than this project.",
      "Send a token whose aud claim is or contains SYMPHONY_JWT_AUDIENCE.",
    );
  }
}

const CLOCKS = "Send it later, or set the clock of the issuer.";

function isMoment(value: unknown): value is number {
  return typeof value === "number" && Math.abs(value) < YEAR_10000;
}

function notAMoment(claim: string): ClaimFault {
  return fault(
    `The ${claim} claim of the access token must be a number of seconds since 1970, before the year 10000.`,
    `Sign access tokens with ${claim} in seconds, not in milliseconds and not as text.`,
  );
}

function fault(message: string, hint: string): ClaimFault {
  return { message, hint };
}
