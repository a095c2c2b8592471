// One project at a time in a directory, by a file lock that the kernel lets go when its process ends, however it ends.
import { join } from "node:path";

export interface DirectoryLock {
  release(): void;
}

export class DirectoryTaken extends Error {}

/** Takes the directory for this process; throws DirectoryTaken naming the process that has it. */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  await Deno.mkdir(directory, { recursive: true });
  const path = join(directory, "lock");
  const file = await Deno.open(path, { create: true, read: true, write: true });
  if (!await file.tryLock(true)) {
    file.close();
    throw new DirectoryTaken(
      `A project already runs in ${directory}, started by process ${await Deno.readTextFile(path)}`,
    );
  }
  await file.truncate();
  await file.write(new TextEncoder().encode(String(Deno.pid)));
  return { release: () => file.close() };
}
