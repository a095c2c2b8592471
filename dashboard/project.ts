// Finds the project of the dashboard: the one that the environment names, or the one that `npm start` runs.
import { fileURLToPath } from "node:url";

export interface Project {
  url: string;
  secretKey: string;
}

const STARTED = fileURLToPath(new URL("../.symphony/project/", import.meta.url));

const TIMEOUT = 5_000; // ms

export class NoProject extends Error {
  override name = "NoProject";
}

/** @throws NoProject with the next step */
export async function findProject(env: (name: string) => string | undefined, folder = STARTED): Promise<Project> {
  const [url, secretKey] = [env("SUPABASE_URL"), env("SUPABASE_SECRET_KEY")];
  // The error shows no values: the two may have been swapped, and a URL may contain a password.
  if (url && !isAddress(url)) {
    throw new NoProject("SUPABASE_URL must be an http or https address without user name, query and fragment.");
  }
  if (secretKey && !/^[\x21-\x7e]+$/.test(secretKey)) {
    throw new NoProject("SUPABASE_SECRET_KEY must be one key without spaces and line breaks.");
  }
  if (url && secretKey) return { url: url.replace(/\/+$/, ""), secretKey };
  if (url || secretKey) throw new NoProject("Set both SUPABASE_URL and SUPABASE_SECRET_KEY, or neither.");
  try {
    const running = JSON.parse(await Deno.readTextFile(`${folder}running.json`));
    const keys = JSON.parse(await Deno.readTextFile(`${folder}keys.json`));
    // A killed `npm start` leaves its file behind.
    await (await fetch(running.url, { signal: AbortSignal.timeout(TIMEOUT) })).body?.cancel();
    return { url: running.url, secretKey: keys.secretKey };
  } catch {
    throw new NoProject(
      "No project is running here. Run npm start in another terminal first,\n" +
        "or set SUPABASE_URL and SUPABASE_SECRET_KEY to the values of your project.",
    );
  }
}

function isAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return /^https?:$/.test(protocol) && !`${username}${password}${search}${hash}`;
}
