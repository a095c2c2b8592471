// A proxy between the edge functions of a test and their data API: it records the calls, and can reply in place of the
// API.

export interface ApiProxy {
  /** The value of SUPABASE_URL for the functions. */
  readonly url: string;
  /** Paths of the calls below /rest/v1, oldest first. */
  readonly calls: string[];
  /** Replies in place of the API if it returns a response. */
  intercept: (path: string) => Response | undefined;
}

/** @param project the project whose API is called; read at the first call */
export function useApiProxy(project: () => { url: string }): ApiProxy {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname, search } = new URL(request.url);
    const path = pathname.replace("/rest/v1/", "");
    proxy.calls.push(path);
    return proxy.intercept(path) ?? fetch(`${project().url}${pathname}${search}`, request);
  });
  const proxy: ApiProxy = { url: `http://127.0.0.1:${server.addr.port}`, calls: [], intercept: () => undefined };
  Deno.test.afterAll(() => server.shutdown());
  return proxy;
}
