// `npm run dashboard`: serves the page on loopback until Ctrl-C, and prints the address that signs a browser in.
import { createAccess } from "./access.ts";
import { bundle } from "./bundle.ts";
import { findProject, NoProject } from "./project.ts";
import { createServer } from "./server.ts";

const PORT = 24330;
const ATTEMPTS = 20; // ports

try {
  const project = await findProject((name) => Deno.env.get(name));
  const port = freePort();
  const addressOf = (token: string) => `http://127.0.0.1:${port}/?token=${token}`;
  const hosts = [`127.0.0.1:${port}`, `localhost:${port}`];
  const access = createAccess(({ token }) =>
    console.log(
      `\nA browser has signed in. To sign in another browser, or this one again, open:\n\n  ${addressOf(token)}`,
    )
  );
  const app = await createServer(project, await bundle(), access, () => hosts);
  Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, app.fetch);
  console.log(
    `\n  Dashboard of ${project.url}\n\n  ${addressOf(access.token)}\n\nThe address works once. Press Ctrl-C to stop.`,
  );
} catch (error) {
  if (!(error instanceof NoProject)) throw error;
  console.error(error.message);
  Deno.exit(1);
}

function freePort(): number {
  for (let port = PORT; port < PORT + ATTEMPTS; port++) {
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new Error(`The ports ${PORT} to ${PORT + ATTEMPTS - 1} are all in use.`);
}
