// Calls of monitor and admin, through the dashboard's server, which has the key.

/** An error reply of an edge function, or of the dashboard's server. */
export class ApiError extends Error {
  override name = "ApiError";
  constructor(message: string, readonly code: string, readonly hint: string) {
    super(message);
  }
}

// Hints for readers of the page, in place of those for programs.
const HINTS: Record<string, string> = {
  SM_UNAVAILABLE: "The page keeps trying. Is the project running? For a local project: npm start",
  SM_FILTER: "Change the search.",
};

const HEADER = { "x-symphony-dashboard": "1" };

/** Calls monitor. Query values that are empty are left out. */
export async function getMonitor<T>(path: string, query: Record<string, string | number | undefined> = {}): Promise<T> {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  const response = await fetch(`/monitor/${path}${given.length ? `?${search}` : ""}`, { headers: HEADER });
  // The health of an unhealthy bus is a reply with status 503.
  return await read<T>(response, path === "health");
}

/**
 * Calls admin.
 * @param body an object, or a JSON text
 */
export async function callAdmin<T = unknown>(
  method: "POST" | "PUT" | "DELETE",
  path: string,
  body?: unknown,
): Promise<T> {
  const response = await fetch(`/admin/${path}`, {
    method,
    headers: body === undefined ? HEADER : { ...HEADER, "content-type": "application/json" },
    body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
  });
  return await read<T>(response, false);
}

/**
 * A request body with a payload exactly as it was typed. JSON.parse would round a 64-bit id, which the edge function
 * rejects.
 * @param payload a JSON text
 */
export function withPayload(payload: string, rest: Record<string, unknown> = {}): string {
  const fields = JSON.stringify(rest).slice(1, -1);
  return `{${fields}${fields && ","}"payload":${payload}}`;
}

async function read<T>(response: Response, acceptsFailure: boolean): Promise<T> {
  const body = await response.json().catch(() => undefined);
  // The caller names the type that shared/operators exports for the reply of this path.
  if (response.ok || acceptsFailure && body && !body.error) return body as T;
  const { message, code = "", hint } = body?.error ?? {};
  throw new ApiError(message ?? `The project returned status ${response.status}.`, code, HINTS[code] ?? hint ?? "");
}
