// Every @example of shared/ compiles and runs, against a project of its own.
import assert from "node:assert/strict";
import { test, useProject } from "../project.ts";

const root = new URL("../../", import.meta.url).pathname;
const project = useProject();

/** The code of the examples in a file, each a module in the root of the repository. */
function examplesIn(path: string): string[] {
  const blocks = Deno.readTextFileSync(path).matchAll(/^ *\* @example.*\n *\* ```ts\n((?: *\*.*\n)*?) *\* ```$/gm);
  return [...blocks].map(([, code]) => code.replaceAll(/^ *\* ?/gm, ""));
}

const modules = ["client", "errors", "handler_errors", "message", "middleware", "schedule"].map((name) =>
  `shared/${name}.ts`
);

test("examples · each public function and class has one", () => {
  for (const path of modules) {
    const text = Deno.readTextFileSync(root + path);
    const documented = new Set(
      [...text.matchAll(
        /\/\*\*(?:(?!\*\/)[^])*@example(?:(?!\*\/)[^])*\*\/\nexport (?:async )?(?:function|class) (\w+)/g,
      )]
        .map(([, name]) => name),
    );
    const exported = [...text.matchAll(/^export (?:async )?(?:function|class) (\w+)/gm)].map(([, name]) => name);
    assert.deepEqual(exported.filter((name) => !documented.has(name)), [], path);
  }
  return Promise.resolve();
});

test("examples · all of them compile and run", async () => {
  const files = [...Deno.readDirSync(`${root}shared`)].filter(({ name }) => name.endsWith(".ts"));
  const examples = files.flatMap(({ name }) => examplesIn(`${root}shared/${name}`));
  assert.ok(examples.length >= 20, `${examples.length} examples`);
  const folder = await Deno.makeTempDir({ dir: `${root}.symphony` });
  try {
    for (const name of ["shared", "node_modules", "deno.json", "package.json"]) {
      await Deno.symlink(root + name, `${folder}/${name}`);
    }
    for (const [n, code] of examples.entries()) await Deno.writeTextFile(`${folder}/example_${n}.ts`, code);
    const all = examples.map((_, n) => `await import("./example_${n}.ts");\n`).join("");
    await Deno.writeTextFile(`${folder}/all.ts`, all);
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--check", "--quiet", "-A", "all.ts"],
      cwd: folder,
      env: { SUPABASE_URL: project().url, SUPABASE_SECRET_KEY: project().secretKey, NO_COLOR: "1" },
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  const [{ stored }] = await project().sql`select count(*)::int as stored from messenger_messages`;
  assert.equal(stored, 3);
});

test("examples · the public modules pass deno doc --lint", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--lint", ...modules],
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
});
