// Finds free ports on loopback.

const LOOPBACK = "127.0.0.1";
// Below 32768: the kernel uses higher ports for outgoing connections.
const [LOWEST, HIGHEST] = [20_000, 32_000];

/** A port that is free now. Another process may bind it first: try again if binding fails. */
export function freePort(): number {
  for (let attempt = 0; attempt < 1_000; attempt++) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (isFree(port)) return port;
  }
  throw new Error(`There is no free port between ${LOWEST} and ${HIGHEST}`);
}

/** The wanted port, or the next free one in steps of ten, which keep clear of neighbouring services. */
export function portOrNext(wanted: number, purpose: string, log: (line: string) => void): number {
  let port = wanted;
  while (!isFree(port)) port += 10;
  if (port !== wanted) log(`Port ${wanted} for ${purpose} is in use by another program; taking ${port} this time.`);
  return port;
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: LOOPBACK, port }).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw error;
  }
}
