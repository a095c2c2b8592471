// The machine and the versions that the figures belong to.
import { cpus, totalmem } from "node:os";
import { z } from "zod";

export const machineSchema = z.object({
  processor: z.string(),
  cores: z.number(),
  memory: z.string(),
  system: z.string(),
  /** Programs and packages with their versions. */
  versions: z.array(z.string()),
});
export type Machine = z.infer<typeof machineSchema>;

export async function describeMachine(root: string, postgres: string): Promise<Machine> {
  const { imports } = JSON.parse(await Deno.readTextFile(`${root}deno.json`)) as { imports: Record<string, string> };
  const { version } = JSON.parse(await Deno.readTextFile(`${root}package.json`)) as { version: string };
  const packageVersion = (name: string) => `${name} ${imports[name].replace(/^.*@/, "")}`;
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memory: `${Math.round(totalmem() / 2 ** 30)} GB`,
    system: `${Deno.build.os} ${Deno.osRelease()}`,
    versions: [
      `symphony-messenger ${version}`,
      packageVersion("graphile-worker"),
      packageVersion("pg-boss"),
      postgres,
      `Deno ${Deno.version.deno}`,
    ],
  };
}
