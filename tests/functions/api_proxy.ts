// A proxy between the edge functions of a test and their data API: it records the calls, and may reply in the API's place.

export interface ApiProxy {
  /** For SUPABASE_URL of the functions. */
  readonly url: string;
  /** Paths of the calls below /rest/v1, oldest first. */
  readonly calls: string[];
  /** Replies in the API's place where it returns a response. */
  intercept: (path: string) => Response | undefined;
}

/** @param project where the API is; needed with the first call */
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
