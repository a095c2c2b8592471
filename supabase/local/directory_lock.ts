// One project at a time per directory, by a file lock that the kernel releases when the process ends.
import { join } from "node:path";

export interface DirectoryLock {
  release(): void;
}

export class DirectoryTaken extends Error {}

/**
 * Locks the directory for this process.
 * @throws DirectoryTaken naming the process that holds the lock
 */
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
