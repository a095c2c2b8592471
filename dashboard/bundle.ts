// Bundles the page's script and style in memory when the server starts.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

export interface Bundle {
  script: string;
  style: string;
}

/** Bundles and minifies both; needs the packages in node_modules. */
export async function bundle(): Promise<Bundle> {
  const [script, style] = await Promise.all([bundled("src/main.tsx"), bundled("style.css")]);
  return { script, style };
}

async function bundled(entry: string): Promise<string> {
  const { outputFiles: [file] } = await build({
    entryPoints: [fileURLToPath(new URL(entry, import.meta.url))],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
  });
  return file.text;
}
