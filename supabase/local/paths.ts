// The paths of the repository and of the project that `npm start` runs.
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const REPOSITORY = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const PROJECT_DIRECTORY = join(REPOSITORY, ".symphony/project");
