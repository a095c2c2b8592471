// The HTTP listener on loopback: opened first, so that its address is known, and served when everything is ready.
import { freePort } from "./ports.ts";

export interface Served {
  fetch(request: Request): Response | Promise<Response>;
}

export interface Server {
  readonly url: string;
  /** Starts serving; requests wait until then. */
  serve(app: Served): void;
  close(): Promise<void>;
}

/** Listens on `port`, or on a free one. */
export function openServer(port?: number): Server {
  const ready = Promise.withResolvers<Served>();
  const closing = new AbortController();
  const server = listen(port, closing.signal, async (request) => (await ready.promise).fetch(request));
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    serve: ready.resolve,
    async close() {
      closing.abort();
      await server.finished;
    },
  };
}

function listen(port: number | undefined, signal: AbortSignal, handler: (request: Request) => Promise<Response>) {
  while (true) {
    try {
      const options = { hostname: "127.0.0.1", port: port ?? freePort(), signal, onListen: () => {} };
      return Deno.serve(options, handler);
    } catch (error) {
      // Another process may have taken the free port. A requested port is not replaced.
      if (port !== undefined || !(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}
