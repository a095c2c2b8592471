// A TCP proxy on loopback that cuts connections: all at once, or each at the start of its reply, which is after the
// commit.
import { freePort } from "../../supabase/local/ports.ts";

const REQUEST_LINE = /^[A-Z]+ \S+ HTTP\/1\.1\r\n/;

export interface Proxy extends AsyncDisposable {
  /** http://127.0.0.1:<port> */
  readonly url: string;
  /** Replies that were cut off before their first byte. */
  readonly repliesCut: number;
  /** Breaks every open connection; returns their number. */
  cut(): number;
  /**
   * Breaks the connection of each of the next replies, up to the given number.
   * @param to selects requests by their text (default: all)
   */
  cutReplies(count: number, to?: (request: string) => boolean): void;
}

/** Forwards each connection to the address that `target` returns. */
export function openProxy(target: () => string): Proxy {
  const listener = listen();
  const open = new Set<() => void>();
  let toCut = 0;
  let isMeant: (request: string) => boolean = () => true;
  let repliesCut = 0;
  const accepting = accept();

  async function accept() {
    for await (const client of listener) forward(client).catch(() => {});
  }

  async function forward(client: Deno.TcpConn) {
    const { hostname, port } = new URL(target());
    const server = await Deno.connect({ hostname, port: Number(port) }).catch(() => undefined);
    if (!server) return client.close();
    const end = () => {
      open.delete(end);
      for (const side of [client, server]) closeQuietly(side);
    };
    open.add(end);
    let request = ""; // the request of the next reply: an HTTP/1.1 client sends one at a time
    const decoder = new TextDecoder();
    await Promise.allSettled([
      copy(client, server, (part) => {
        const text = decoder.decode(part, { stream: true });
        request = REQUEST_LINE.test(text) ? text : request + text;
        return false;
      }),
      copy(server, client, () => {
        if (toCut === 0 || !isMeant(request)) return false;
        toCut--;
        repliesCut++;
        return true;
      }),
    ]);
    end();

    async function copy(from: Deno.TcpConn, to: Deno.TcpConn, cutHere: (part: Uint8Array) => boolean) {
      const buffer = new Uint8Array(65_536);
      for (let size = await from.read(buffer); size !== null; size = await from.read(buffer)) {
        if (cutHere(buffer.subarray(0, size))) return end();
        for (let sent = 0; sent < size;) sent += await to.write(buffer.subarray(sent, size));
      }
      end();
    }
  }

  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    get repliesCut() {
      return repliesCut;
    },
    cut() {
      const count = open.size;
      for (const end of [...open]) end();
      return count;
    },
    cutReplies(count, to = () => true) {
      toCut = count;
      isMeant = to;
    },
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const end of [...open]) end();
      await accepting;
    },
  };
}

function listen(): Deno.TcpListener {
  for (;;) {
    try {
      return Deno.listen({ hostname: "127.0.0.1", port: freePort() });
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

function closeQuietly(connection: Deno.TcpConn) {
  try {
    connection.close();
  } catch {
    // closed by the other direction
  }
}
