// `npm run reset`: forgets the project of `npm start`, data and keys; rejects while it runs.
import { existsSync } from "node:fs";
import { DirectoryTaken, lockDirectory } from "./directory_lock.ts";
import { DIRECTORY } from "./location.ts";

if (!existsSync(DIRECTORY)) {
  console.log("There is nothing to reset.");
} else {
  try {
    const lock = await lockDirectory(DIRECTORY);
    await Deno.remove(DIRECTORY, { recursive: true });
    lock.release();
    console.log("The local project is gone; npm start makes a new one.");
  } catch (error) {
    if (!(error instanceof DirectoryTaken)) throw error;
    console.error(`${error.message}; stop it first.`);
    Deno.exitCode = 1;
  }
}
