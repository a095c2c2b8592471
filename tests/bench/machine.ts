// The machine and the versions that the figures belong to.
import { cpus, totalmem } from "node:os";

export interface Machine {
  processor: string;
  cores: number;
  memory: string;
  system: string;
  /** Programs and packages with their versions. */
  versions: string[];
}

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
