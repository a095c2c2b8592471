// The Supabase CLI, away from Docker, the network and everybody's settings.
import { type Outcome, run, scratch } from "./gate.ts";
import { npmTool } from "./npm_tool.ts";

const { program, missing } = await npmTool("supabase", "3.1.0");

/** Why there is no CLI, if there is none. */
export const cliMissing = missing;

/** Runs `supabase <args>` on the project whose supabase/ folder is in `directory`. */
export async function supabase(directory: string, args: string[], env: Record<string, string> = {}): Promise<Outcome> {
  // It writes a telemetry file into the home even when telemetry is off.
  await using home = await scratch();
  return await run(program, [...args, "--workdir", directory, "--agent", "no"], {
    cwd: directory,
    env: { HOME: home.path, SUPABASE_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", ...env },
  });
}
