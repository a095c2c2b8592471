// The Supabase CLI without Docker, network and user settings.
import { type Outcome, run, scratch } from "./gate.ts";
import { npmTool } from "./npm_tool.ts";

const { program, missing } = await npmTool("supabase", "3.1.0");

/** The reason why the CLI is missing, if it is. */
export const cliMissing = missing;

/** Runs `supabase <args>` on the project whose supabase/ folder is in `directory`. */
export async function supabase(directory: string, args: string[], env: Record<string, string> = {}): Promise<Outcome> {
  // It writes a telemetry file into the home directory even if telemetry is off.
  await using home = await scratch();
  return await run(program, [...args, "--workdir", directory, "--agent", "no"], {
    cwd: directory,
    env: { HOME: home.path, SUPABASE_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", ...env },
  });
}
