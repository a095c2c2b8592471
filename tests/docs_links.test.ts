// Links in all Markdown files of the repository: the linked file and the linked heading exist.
import assert from "node:assert/strict";
import { filesIn } from "./files.ts";

const root = new URL("../", import.meta.url);
const EXTERNAL = /^(https?|mailto):/;

Deno.test("docs · every relative link leads to a file, and every anchor to a heading in it", async () => {
  const documents = filesIn().filter((path) => path.endsWith(".md")).map((path) => new URL(path, root));
  assert.ok(documents.length > 10, `${documents.length} documents found`);
  const broken = (await Promise.all(documents.map(brokenLinks))).flat();
  assert.deepEqual(broken, []);
});

Deno.test("docs · a missing file, a missing heading and a missing file in HTML are found", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/page.md`;
    const text = [
      "# Retries & delays",
      "## `SM_KEY`: same, same",
      "## Delays",
      "## Delays",
      "[a](page.md#retries--delays) [b](#sm_key-same-same) [c](#delays-1) [d](https://example.com/x)",
      "```md\n[in code](nowhere.md)\n## Hidden\n```",
      '[e](gone.md) [f](#delays-2) [g](#hidden) [h](page.md#gone "title") <img src="gone.png">',
    ].join("\n\n");
    await Deno.writeTextFile(path, text);
    const found = (await brokenLinks(new URL(`file://${path}`))).map((line) => line.split(": ")[1]);
    assert.deepEqual(found, ["gone.md", "#delays-2", "#hidden", "page.md#gone", "gone.png"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function brokenLinks(document: URL): Promise<string[]> {
  const text = withoutCode(await Deno.readTextFile(document));
  const targets = [
    ...[...text.matchAll(/\]\(([^)\s]+)[^)]*\)/g)],
    ...[...text.matchAll(/^\[[^\]]+\]: (\S+)/gm)],
    ...[...text.matchAll(/<(?:img|a|source)\s[^>]*?(?:src|href)="([^"]+)"/g)],
  ].map(([, target]) => target).filter((target) => !EXTERNAL.test(target));
  const broken: string[] = [];
  for (const target of targets) {
    if (!(await leadsSomewhere(new URL(target, document)))) {
      broken.push(`${document.href.replace(root.href, "")}: ${target}`);
    }
  }
  return broken;
}

async function leadsSomewhere(target: URL): Promise<boolean> {
  const path = new URL(target);
  path.hash = "";
  const exists = await Deno.stat(path).then(() => true, () => false);
  if (!exists || !target.hash || !path.pathname.endsWith(".md")) return exists;
  return anchorsOf(await Deno.readTextFile(path)).has(decodeURIComponent(target.hash.slice(1)));
}

/** The anchors that GitHub gives the headings of a document. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading] of text.replace(/^```.*?^```/gms, "").matchAll(/^#{1,6} (.+)$/gm)) {
    const base = heading.trim().toLowerCase().replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .replace(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-");
    let anchor = base;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${base}-${n}`;
    anchors.add(anchor);
  }
  return anchors;
}

function withoutCode(text: string): string {
  return text.replace(/^```.*?^```/gms, "").replace(/`[^`\n]*`/g, "");
}
