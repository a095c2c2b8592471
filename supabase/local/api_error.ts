// Errors of the data API in the form of PostgREST, with its mapping of SQLSTATEs to HTTP statuses.
import postgres from "postgres";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly details: string | null = null,
    readonly hint: string | null = null,
  ) {
    super(message);
  }

  toResponse(): Response {
    const { code, details, hint, message } = this;
    return Response.json({ code, details, hint, message }, {
      status: this.status,
      headers: this.status === 401 ? { "www-authenticate": "Bearer" } : {},
    });
  }
}

/** The error that PostgREST returns for one that a transaction has thrown. */
export function toApiError(error: unknown, role: string): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof postgres.PostgresError) {
    const { code, message } = error;
    const status = httpStatus(code, message, role !== "anon");
    // An empty detail or hint is null in the API.
    return new ApiError(status, code, message, error.detail || null, error.hint || null);
  }
  const details = error instanceof Error ? error.message : String(error);
  if (error instanceof Error && "code" in error) {
    return new ApiError(503, "PGRST001", "Database client error. Retrying the connection.", details);
  }
  return new ApiError(500, "PGRSTX00", "The local gateway failed", details);
}

const BY_CODE: Record<string, number> = {
  "23503": 409,
  "23505": 409,
  "25006": 405,
  "42883": 404,
  "42P01": 404,
  "42P17": 500,
  "53400": 500,
  "57P01": 503,
  "57P03": 503, // starting up or shutting down; PostgREST gets it while it connects, which is 503
  P0001: 400,
};

const BY_CLASS: Record<string, number> = {
  "08": 503,
  "09": 500,
  "0L": 403,
  "0P": 403,
  "21": 500,
  "25": 500,
  "28": 403,
  "2D": 500,
  "38": 500,
  "39": 500,
  "3B": 500,
  "40": 500,
  "53": 503,
  "54": 500,
  "55": 500,
  "57": 500,
  "58": 500,
  F0: 500,
  HV: 500,
  P0: 500,
  XX: 500,
};

function httpStatus(code: string, message: string, authenticated: boolean): number {
  if (code.startsWith("PT")) {
    const status = Number(code.slice(2));
    return status >= 200 && status <= 599 ? status : 500;
  }
  if (code === "42501") return authenticated ? 403 : 401;
  if (code === "22023") return /^role .* does not exist$/.test(message) ? 401 : 400;
  return BY_CODE[code] ?? BY_CLASS[code.slice(0, 2)] ?? 400;
}
