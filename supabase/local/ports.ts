// Loopback ports: is one free, and which is.

const LOOPBACK = "127.0.0.1";
// Below 32768, where the kernel takes no ephemeral ports for outgoing connections.
const [LOWEST, HIGHEST] = [20_000, 32_000];

/** A port nothing listens on now. Another process may take it before you do: try again when binding fails. */
export function freePort(): number {
  for (let attempt = 0; attempt < 1_000; attempt++) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (isFree(port)) return port;
  }
  throw new Error(`No free port between ${LOWEST} and ${HIGHEST}`);
}

/** The port asked for, or the next free one in steps of ten (so that neighbours do not meet), saying so. */
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
