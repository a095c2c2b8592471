// `npm run reset`: deletes the data and keys of the project that `npm start` runs; fails while it is running.
import { existsSync } from "node:fs";
import { DirectoryTaken, lockDirectory } from "./directory_lock.ts";
import { PROJECT_DIRECTORY } from "./paths.ts";

if (!existsSync(PROJECT_DIRECTORY)) {
  console.log("There is no local project to reset.");
} else {
  try {
    const lock = await lockDirectory(PROJECT_DIRECTORY);
    await Deno.remove(PROJECT_DIRECTORY, { recursive: true });
    lock.release();
    console.log("The local project has been deleted. npm start creates a new one.");
  } catch (error) {
    if (!(error instanceof DirectoryTaken)) throw error;
    console.error(`${error.message}. Stop it with Ctrl-C, then try again.`);
    Deno.exitCode = 1;
  }
}
