// The test files that need no database, browser, service or network: none of their imports, direct or indirect, opens
// one.
import { relative } from "node:path";
import { filesIn } from "./files.ts";

const root = new URL("../", import.meta.url);
/** Modules that start a database, a gateway, a browser or a program from the network. */
const SERVICES = [
  "supabase/local/binaries.ts",
  "supabase/local/isolate.ts",
  "supabase/local/project.ts",
  "supabase/local/installations.mjs",
  "tests/dashboard/browser.ts",
  "tests/gates/gate.ts",
];
/** npm packages that connect to a database or a browser. */
const CLIENTS = ["playwright-core", "postgres"];
const SOURCE = /^\.{1,2}\/.*\.(tsx?|mjs)$/;
const IMPORT =
  /^(?:import|export)\s(?!type\s)[^"';]*?\bfrom\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\(\s*"([^"]+)"\)/gms;

/** Paths of the unit tests, from the root of the repository. */
export function unitTestFiles(): string[] {
  const usesServices = new Map<string, boolean>();
  const uses = (module: URL): boolean => {
    const known = usesServices.get(module.href);
    if (known !== undefined) return known;
    // False while its own imports are followed, which ends a cycle.
    usesServices.set(module.href, false);
    const found = SERVICES.includes(relative(root.pathname, module.pathname)) ||
      importsOf(module).some((specifier) =>
        SOURCE.test(specifier) ? uses(new URL(specifier, module)) : CLIENTS.includes(specifier)
      );
    usesServices.set(module.href, found);
    return found;
  };
  return filesIn("tests").filter((path) => path.endsWith(".test.ts") && !uses(new URL(path, root)));
}

function importsOf(module: URL): string[] {
  const text = Deno.readTextFileSync(module);
  return [...text.matchAll(IMPORT)].map(([, from, bare, dynamic]) => from ?? bare ?? dynamic);
}
