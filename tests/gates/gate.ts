// Common parts of the gates: tests that are skipped without their tool, running programs, scratch folders.
import { join } from "node:path";

export const root = new URL("../../", import.meta.url).pathname;

/** A test by an external tool. `missing` names the missing tool and its installation; the test is then skipped. */
export function gate(name: string, missing: string | undefined, fn: (t: Deno.TestContext) => Promise<void>): void {
  if (missing) console.warn(`SKIPPED gate · ${name}: ${missing}`);
  Deno.test({
    // In the name, too, because a quiet run hides what a module prints.
    name: `gate · ${name}${missing ? ` · SKIPPED: ${missing}` : ""}`,
    ignore: missing !== undefined,
    fn,
    // Connections to the file's project outlive a single test.
    sanitizeResources: false,
    sanitizeOps: false,
  });
}

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
  /** Both output streams, for messages. */
  text: string;
}

export interface RunOptions {
  cwd?: string;
  /** The whole environment, with PATH, so that no tokens or settings of the user reach the program. */
  env?: Record<string, string>;
  /** For programs that download: adds the registry settings of our environment. */
  inherit?: boolean;
  timeout?: number;
}

/** Runs a program to its end. */
export async function run(program: string, args: string[], options: RunOptions = {}): Promise<Outcome> {
  const { cwd = root, env = {}, inherit = false, timeout = 120_000 } = options;
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd,
    clearEnv: !inherit,
    env: { PATH: Deno.env.get("PATH") ?? "", NO_COLOR: "1", ...env },
    stdin: "null",
    signal: AbortSignal.timeout(timeout),
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, stdout: out, stderr: err, text: out + err };
}

export interface Scratch extends AsyncDisposable {
  path: string;
}

/** A folder outside the repository, so that no configuration above it is found; removed at the end of the scope. */
export async function scratch(): Promise<Scratch> {
  const path = await Deno.makeTempDir({ prefix: "symphony-gate-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** A copy of these parts of the repository (default: all except installed and generated files). */
export async function copyOfRepository(...parts: string[]): Promise<Scratch> {
  const made = ["node_modules", ".git", ".symphony"];
  const all = [...Deno.readDirSync(root)].map(({ name }) => name).filter((name) => !made.includes(name));
  const copy = await scratch();
  const from = (parts.length > 0 ? parts : all).map((part) => join(root, part));
  const { code, text } = await run("cp", ["--archive", ...from, copy.path]);
  if (code !== 0) throw new Error(text);
  return copy;
}

/**
 * Changes one passage of a file; throws if the passage does not occur exactly once, since a fault that was not planted
 * proves nothing.
 */
export async function plant(path: string, place: string, replacement: string): Promise<void> {
  const text = await Deno.readTextFile(path);
  if (text.split(place).length !== 2) throw new Error(`${path} does not contain this exactly once: ${place}`);
  await Deno.writeTextFile(path, text.replace(place, () => replacement));
}
