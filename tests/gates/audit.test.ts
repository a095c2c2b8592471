// Known vulnerabilities of the packages in package-lock.json: `npm audit` for production and for all packages.
import assert from "node:assert/strict";
import { z } from "zod";
import { copyOfRepository, gate, type Outcome, run, scratch } from "./gate.ts";

const WAYS: [what: string, args: string[]][] = [["production", ["--omit=dev"]], ["all packages", []]];
const SEVERITIES = ["moderate", "high", "critical"];

const report = z.object({
  vulnerabilities: z.record(z.string(), z.object({ severity: z.string() })),
});
const error = z.object({ message: z.string() });

async function audit(args: string[]): Promise<Outcome> {
  await using copy = await copyOfRepository("package.json", "package-lock.json");
  await using cache = await scratch();
  const flags = ["--json", "--package-lock-only", "--fetch-retries=0", `--cache=${cache.path}`];
  return await run("npm", ["audit", ...flags, ...args], { cwd: copy.path, inherit: true });
}

/** Packages with a vulnerability of moderate severity or worse, or the reason why it is unknown. */
function judge({ stdout, text }: Outcome): { vulnerable: string[] } | { unknown: string } {
  const parsed = report.safeParse(parseJson(stdout));
  if (!parsed.success) {
    const rejected = error.safeParse(parseJson(stdout));
    return { unknown: rejected.success ? rejected.data.message : text.trim() };
  }
  const bad = Object.entries(parsed.data.vulnerabilities).filter(([, { severity }]) => SEVERITIES.includes(severity));
  return { vulnerable: bad.map(([name]) => name) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

for (const [what, args] of WAYS) {
  const result = judge(await audit(args));
  const missing = "unknown" in result
    ? `the npm registry does not audit (${result.unknown.split("\n")[0]}). Elsewhere: npm audit ${args.join(" ")}`
    : undefined;
  gate(`npm audit of ${what} finds nothing moderate or worse`, missing, () => {
    assert.deepEqual(result, { vulnerable: [] });
    return Promise.resolve();
  });
}

for (const [severity, expected] of [["low", []], ["moderate", ["hono"]]] as const) {
  gate(
    `npm audit counts a ${severity} vulnerability ${expected.length > 0 ? "as a failure" : "as none"}`,
    undefined,
    async () => {
      await using registry = openRegistry("hono", severity);
      const result = judge(await audit([`--registry=${registry.url}`]));
      assert.ok("vulnerable" in result, JSON.stringify(result));
      // Packages that depend on it are listed, too.
      assert.deepEqual(result.vulnerable.filter((name) => name === "hono"), expected);
      assert.equal(result.vulnerable.length > 0, expected.length > 0);
    },
  );
}

gate("a registry without an audit is not treated as a clean one", undefined, async () => {
  await using registry = openRegistry("hono");
  assert.ok("unknown" in judge(await audit([`--registry=${registry.url}`])));
});

/** A registry with one package whose every version is vulnerable; without a severity it rejects audits. */
function openRegistry(name: string, severity?: string): AsyncDisposable & { url: string } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    await request.body?.cancel();
    if (pathname === "/-/npm/v1/security/advisories/bulk" && severity) {
      const range = "<999.0.0";
      return Response.json({
        [name]: [{
          id: 1,
          url: "https://example.com/1",
          title: "planted",
          severity,
          vulnerable_versions: range,
          cwe: [],
        }],
      });
    }
    if (pathname !== `/${name}`) return new Response(null, { status: 405 });
    return Response.json({ name, "dist-tags": { latest: "1.0.0" }, versions: { "1.0.0": { name, version: "1.0.0" } } });
  });
  return { url: `http://127.0.0.1:${server.addr.port}/`, [Symbol.asyncDispose]: () => server.shutdown() };
}
