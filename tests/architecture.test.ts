// The project rules: which folder may import which, how long files and lines may be, what is generated and pinned.
import assert from "node:assert/strict";
import { dirname, join, relative } from "node:path";
import { sourceFiles } from "../supabase/build/schemas.ts";
import { filesIn } from "./files.ts";

const root = new URL("../", import.meta.url).pathname;
const GENERATED = /^(supabase\/(migrations|rollback|upgrades)\/|tests\/fixtures\/|shared\/database\.types\.ts)/;
const folders = ["supabase", "functions", "shared", "packs", "cli", "dashboard", "tests"];

interface Source {
  path: string;
  text: string;
  /** Repository paths of our own files, and package specifiers as written. */
  ours: string[];
  packages: string[];
}

const files = folders.flatMap((folder) => filesIn(folder));
const sources = files.filter((path) => /\.tsx?$/.test(path)).map(readSource);

Deno.test("architecture · these tests see the imports they judge", () => {
  const worker = sources.find(({ path }) => path === "functions/worker/index.ts");
  assert.ok(worker?.ours.includes("shared/worker/consume.ts") && worker.ours.includes("packs/index.ts"));
  const types = sources.find(({ path }) => path === "shared/worker/execute.ts");
  assert.ok(types?.ours.includes("shared/message.ts"));
  assert.deepEqual(sources.find(({ path }) => path === "shared/http/auth.ts")?.packages, ["@supabase/server/core"]);
});

Deno.test("architecture · each folder imports only the folders below it", () => {
  const allowed: Record<string, (to: string, from: string) => boolean> = {
    shared: (to) => to.startsWith("shared/"),
    packs: (to, from) =>
      to.startsWith("shared/") || to.startsWith(folderOf(from, 2)) ||
      from === "packs/index.ts" && to.startsWith("packs/"),
    functions: (to, from) => to.startsWith("shared/") || to === "packs/index.ts" || to.startsWith(folderOf(from, 2)),
    cli: (to) => ["shared/", "packs/", "cli/"].some((folder) => to.startsWith(folder)),
    dashboard: (to, from) =>
      to.startsWith("dashboard/") || to.startsWith("shared/operators/") && importsTypesOnly(from, to),
    supabase: (to, from) =>
      to.startsWith("supabase/local/") || to.startsWith("supabase/build/") && !from.startsWith("supabase/local/"),
    tests: () => true,
  };
  const wrong = sources.flatMap(({ path, ours }) =>
    ours.filter((to) => !allowed[folderOf(path, 1).slice(0, -1)](to, path)).map((to) => `${path} imports ${to}`)
  );
  assert.deepEqual(wrong, []);
});

Deno.test("architecture · shared imports only down its ladder", () => {
  const ladder = [["ground"], ["tracing"], ["worker", "http"], ["transports", "operators"], ["dispatch"], ["top"]];
  const layerOf = (path: string) => {
    const [, folder, file] = path.split("/");
    if (file !== undefined) return folder;
    return ["client.ts", "bootstrap.ts"].includes(folder) ? "top" : "ground";
  };
  const height = (layer: string) => ladder.findIndex((layers) => layers.includes(layer));
  const shared = sources.filter(({ path }) => path.startsWith("shared/"));
  assert.deepEqual(shared.filter(({ path }) => height(layerOf(path)) < 0), []);
  const upwards = shared.flatMap(({ path, ours }) =>
    ours.filter((to) => layerOf(to) !== layerOf(path) && height(layerOf(to)) >= height(layerOf(path)))
      .map((to) => `${path} imports ${to}`)
  );
  assert.deepEqual(upwards, []);
});

Deno.test("architecture · there are no import cycles, type imports included", () => {
  const graph = new Map(sources.map(({ path, ours }) => [path, ours]));
  const done = new Set<string>();
  const visit = (path: string, trail: string[]): void => {
    assert.ok(!trail.includes(path), `a cycle: ${[...trail, path].join(" -> ")}`);
    if (done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
});

Deno.test("architecture · one package, one place", () => {
  const places: Record<string, RegExp> = {
    "@supabase/supabase-js": /^(shared\/db\.ts|tests\/)/,
    "@supabase/server": /^shared\/http\/auth\.ts$/,
    "hono": /^(shared\/|supabase\/local\/|dashboard\/server\.ts)/,
    "postgres": /^(supabase\/local\/|tests\/|cli\/postgres\.ts)/,
    "jose": /^(supabase\/local\/|tests\/)/,
    "smol-toml": /^(supabase\/local\/|tests\/)/,
    "@hono/zod-openapi": /^(shared\/|tests\/)/,
    "zod": /^(shared\/|packs\/|supabase\/local\/|tests\/)/,
    "cron-parser": /^(shared\/schedule\.ts|tests\/)/,
    "ipaddr.js": /^packs\/webhook\//,
    "cli-table3": /^(cli\/|tests\/terminal\.ts)/,
    "cli-progress": /^(cli\/|tests\/terminal\.ts)/,
    "esbuild": /^dashboard\//,
    "preact": /^dashboard\//,
    "uplot": /^dashboard\//,
    "playwright-core": /^tests\/dashboard\//,
    "fast-check": /^tests\//,
    "graphile-worker": /^tests\/bench\//,
    "pg-boss": /^tests\/bench\//,
    "echarts": /^tests\/bench\//,
    "standardwebhooks": /^tests\//,
  };
  const wrong = sources.flatMap(({ path, packages }) =>
    packages.filter((specifier) => !specifier.startsWith("node:"))
      .filter((specifier) => !places[packageOf(specifier)]?.test(path)).map((specifier) =>
        `${path} imports ${specifier}`
      )
  );
  assert.deepEqual(wrong, []);
});

Deno.test("architecture · every message of a pack, and every pack, is in its registry", () => {
  for (const pack of foldersIn("packs")) {
    const index = Deno.readTextFileSync(join(root, pack, "index.ts"));
    for (const file of filesIn(pack).filter((path) => path.endsWith(".ts") && !path.endsWith("/index.ts"))) {
      if (!Deno.readTextFileSync(join(root, file)).includes("export default defineMessage(")) continue;
      assert.ok(index.includes(`./${relative(pack, file)}`), `${file} is not in ${pack}/index.ts`);
    }
    assert.ok(
      Deno.readTextFileSync(join(root, "packs/index.ts")).includes(`./${relative("packs", pack)}/index.ts`),
      `${pack} is not in packs/index.ts`,
    );
  }
});

Deno.test("architecture · every edge function is in config.toml, or it would be deployed empty", () => {
  const config = Deno.readTextFileSync(join(root, "supabase/config.toml"));
  const configured = [
    ...config.matchAll(
      /^\[functions\.(\w+)\]\nverify_jwt = false\nentrypoint = "\.\.\/functions\/(\w+)\/index\.ts"$/gm,
    ),
  ];
  assert.deepEqual(configured.map(([, name]) => `functions/${name}`).sort(), foldersIn("functions"));
  for (const [, name, folder] of configured) assert.equal(name, folder);
});

Deno.test("architecture · files are short enough to be read at once", () => {
  const limits: [RegExp, number][] = [[/^functions\//, 100], [/\.(tsx?|sql|mjs)$/, 300]];
  const long = files.filter((path) => !GENERATED.test(path)).flatMap((path) => {
    const limit = limits.find(([pattern]) => pattern.test(path))?.[1];
    const lines = limit ? Deno.readTextFileSync(join(root, path)).trimEnd().split("\n").length : 0;
    return limit && lines > limit ? [`${path}: ${lines} lines, ${limit} allowed`] : [];
  });
  assert.deepEqual(long, []);
});

Deno.test("architecture · lines have at most 120 columns", () => {
  const wide = files.filter((path) => /\.(tsx?|sql|mjs)$/.test(path) && !GENERATED.test(path))
    .flatMap((path) =>
      Deno.readTextFileSync(join(root, path)).split("\n").flatMap((line, index) =>
        line.length > 120 ? [`${path}:${index + 1}: ${line.length} columns`] : []
      )
    );
  assert.deepEqual(wide, []);
});

Deno.test("architecture · within a folder of the schema, a file calls only functions of later files", () => {
  // Each pair calls each other: a repeated settle, a runner and its handler, a job and its tick, a step and its rows.
  const mutual = [
    /40_delivery\/52_settle_again\.sql calls messenger\.settle_outcomes/,
    /40_delivery\/14_run_sql_handlers\.sql calls messenger\.(is_backend_alive|note_run|sql_worker)/,
    /70_ticker\/27_jobs\.sql calls messenger\.(is_ticker_enabled|tick_or_note_error)/,
    /70_ticker\/85_set_aside\.sql calls messenger\.(rescue_messages|unblock_keys|roll_up_rows|delete_messages)/,
  ];
  const schemas = new URL("../supabase/schemas/", import.meta.url);
  const texts = sourceFiles(schemas).map((file) => ({
    file,
    text: Deno.readTextFileSync(new URL(file, schemas)).replace(/--.*$/gm, ""),
  }));
  const definedIn = new Map(
    texts.flatMap(({ file, text }) =>
      [...text.matchAll(/^create or replace function ([\w.]+)/gm)].map(([, name]) => [name, file] as const)
    ),
  );
  assert.ok(definedIn.size > 300);
  const backwards = texts.flatMap(({ file, text }) =>
    [...new Set(text.match(/\b(messenger|public)\.\w+/g))].filter((name) => {
      const other = definedIn.get(name);
      return other !== undefined && other < file && dirname(other) === dirname(file);
    }).map((name) => `${file} calls ${name}`)
  );
  assert.deepEqual(backwards.filter((call) => !mutual.some((pattern) => pattern.test(call))), []);
});

Deno.test("architecture · every file opens with a sentence about itself", () => {
  const silent = files.filter((path) => /\.(tsx?|sql|mjs)$/.test(path) && !path.startsWith("tests/fixtures/"))
    .filter((path) => !/^(#!.*\n)?(\/\/|--|\/\*\*) \S/.test(Deno.readTextFileSync(join(root, path))));
  assert.deepEqual(silent, []);
});

Deno.test("architecture · deno.json pins exactly what package-lock.json holds", () => {
  const { imports } = readJson("deno.json") as { imports: Record<string, string> };
  const { packages } = readJson("package-lock.json") as { packages: Record<string, { version: string }> };
  const { dependencies, devDependencies } = readJson("package.json") as Record<string, Record<string, string>>;
  for (const [name, target] of Object.entries(imports)) {
    const [, version] = target.match(/^npm:.+@(\d+\.\d+\.\d+)(\/|$)/) ?? [];
    assert.equal(version, packages[`node_modules/${packageOf(name)}`]?.version, `${name}: ${target}`);
  }
  const inexact = Object.entries({ ...dependencies, ...devDependencies }).filter(([, version]) =>
    !/^\d+\.\d+\.\d+$/.test(version)
  );
  assert.deepEqual(inexact, []);
});

Deno.test("architecture · the code passes its type check, its linter and its formatter", {
  ignore: Deno.env.has("SYMPHONY_UNIT_TESTS"),
}, async (t) => {
  for (const command of [["check", "."], ["lint"], ["fmt", "--check"]]) {
    await t.step(`deno ${command.join(" ")}`, async () => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [...command, "--quiet"],
        cwd: root,
        env: { NO_COLOR: "1" },
      }).output();
      assert.equal(code, 0, new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
    });
  }
});

function readSource(path: string): Source {
  const text = Deno.readTextFileSync(join(root, path));
  const specifiers = [
    ...text.matchAll(/^\s*(?:import|export)\b[^"';]*?from\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm),
  ]
    .map((match) => match[1] ?? match[2] ?? match[3]);
  return {
    path,
    text,
    ours: specifiers.filter((s) => s.startsWith(".")).map((s) => relative(root, join(root, dirname(path), s))),
    packages: specifiers.filter((s) => !s.startsWith(".")),
  };
}

/** Whether every import of a file in another is `import type`, which the bundler drops. */
function importsTypesOnly(from: string, to: string): boolean {
  const text = Deno.readTextFileSync(join(root, from));
  const imports = [...text.matchAll(/^import (type )?[^;]*?from "([^"]+)";$/gm)]
    .filter(([, , specifier]) => relative(root, join(root, dirname(from), specifier)) === to);
  return imports.length > 0 && imports.every(([, type]) => type !== undefined);
}

function foldersIn(folder: string): string[] {
  return [...Deno.readDirSync(join(root, folder))].filter((entry) => entry.isDirectory).map((entry) =>
    `${folder}/${entry.name}`
  ).sort();
}

function folderOf(path: string, depth: number): string {
  return path.split("/").slice(0, depth).join("/") + "/";
}

function packageOf(specifier: string): string {
  return specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
}

function readJson(path: string): unknown {
  return JSON.parse(Deno.readTextFileSync(join(root, path)));
}
