// Where `npm start` keeps its project.
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const REPOSITORY = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const DIRECTORY = join(REPOSITORY, ".symphony/project");
