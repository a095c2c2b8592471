// Which project the dashboard shows: the one the environment names, or the one that `npm start` runs.
import { fileURLToPath } from "node:url";

export interface Project {
  url: string;
  secretKey: string;
}

const STARTED = fileURLToPath(new URL("../.symphony/project/", import.meta.url));

const PATIENCE = 5_000; // ms

export class NoProject extends Error {
  override name = "NoProject";
}

/** @throws NoProject with what to do about it */
export async function findProject(env: (name: string) => string | undefined, folder = STARTED): Promise<Project> {
  const [url, secretKey] = [env("SUPABASE_URL"), env("SUPABASE_SECRET_KEY")];
  // Values are not shown: the two may have been exchanged, and an address may hold a password.
  if (url && !isAddress(url)) {
    throw new NoProject("SUPABASE_URL must be an http or https address without user name, query and fragment.");
  }
  if (secretKey && !/^[\x21-\x7e]+$/.test(secretKey)) {
    throw new NoProject("SUPABASE_SECRET_KEY must be one key, without spaces and line breaks.");
  }
  if (url && secretKey) return { url: url.replace(/\/+$/, ""), secretKey };
  if (url || secretKey) throw new NoProject("Set both SUPABASE_URL and SUPABASE_SECRET_KEY, or neither.");
  try {
    const running = JSON.parse(await Deno.readTextFile(`${folder}running.json`));
    const keys = JSON.parse(await Deno.readTextFile(`${folder}keys.json`));
    // A start that was killed leaves its file behind.
    await (await fetch(running.url, { signal: AbortSignal.timeout(PATIENCE) })).body?.cancel();
    return { url: running.url, secretKey: keys.secretKey };
  } catch {
    throw new NoProject(
      "No project is running here. Run npm start in another terminal first,\n" +
        "or set SUPABASE_URL and SUPABASE_SECRET_KEY to those of your project.",
    );
  }
}

function isAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return /^https?:$/.test(protocol) && !`${username}${password}${search}${hash}`;
}
