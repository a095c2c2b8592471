// The URLs that a webhook may call: every spelling, name or mapping of a private address is rejected.
import assert from "node:assert/strict";
import { assertPublic, PrivateAddress } from "../../packs/webhook/public_address.ts";

/** DNS of the tests: names with their addresses. */
const zone: Record<string, string[]> = {
  "hooks.example.com": ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"],
  "six.example.com": ["2606:2800:220:1:248:1893:25c8:1946"],
  "rebound.example.com": ["127.0.0.1"],
  "half.example.com": ["93.184.216.34", "10.0.0.7"],
  "metadata.example.com": ["169.254.169.254"],
  "mapped.example.com": ["::ffff:10.0.0.7"],
  "metadata6.example.com": ["93.184.216.34", "fd00:ec2::254"],
};

function resolve(name: string, type: "A" | "AAAA"): Promise<string[]> {
  const found = (zone[name] ?? []).filter((address) => address.includes(":") === (type === "AAAA"));
  return found.length > 0 ? Promise.resolve(found) : Promise.reject(new Deno.errors.NotFound("no records found"));
}

const check = (url: string) => assertPublic(new URL(url), resolve);

Deno.test("public address · https to a public name or address is accepted", async () => {
  for (
    const url of [
      "https://hooks.example.com/a?b=c",
      "https://hooks.example.com.:8443/",
      "https://six.example.com/",
      "https://93.184.216.34/",
      "https://[2606:2800:220:1:248:1893:25c8:1946]/",
    ]
  ) await check(url);
});

const PRIVATE = [
  ["plain http", "http://hooks.example.com/"],
  ["another protocol", "ftp://hooks.example.com/"],
  ["a name of this machine", "https://localhost/"],
  ["the same, as DNS writes it in full", "https://localhost./"],
  ["below localhost", "https://api.localhost/"],
  ["the metadata service by name", "https://metadata.google.internal/"],
  ["a name without a dot, which the search domain completes", "https://metadata/"],
  ["a printer", "https://printer.local/"],
  ["loopback", "https://127.0.0.1/"],
  ["another address of loopback", "https://127.8.8.8/"],
  ["loopback as one number", "https://2130706433/"],
  ["loopback in hexadecimal", "https://0x7f000001/"],
  ["loopback in octal", "https://0177.0.0.1/"],
  ["loopback in two parts", "https://127.1/"],
  ["loopback in full-width digits", "https://１２７.0.0.1/"],
  ["this network", "https://0.0.0.0/"],
  ["private 10", "https://10.1.2.3/"],
  ["private 172", "https://172.31.255.255/"],
  ["private 192", "https://192.168.0.1/"],
  ["carrier-grade NAT", "https://100.64.0.1/"],
  ["link-local, the metadata service", "https://169.254.169.254/latest/meta-data/"],
  ["Oracle's metadata service", "https://192.0.0.192/"],
  ["Azure's host", "https://168.63.129.16/"],
  ["benchmarks", "https://198.18.0.1/"],
  ["multicast", "https://224.0.0.1/"],
  ["broadcast", "https://255.255.255.255/"],
  ["reserved", "https://240.0.0.1/"],
  ["IPv6 loopback", "https://[::1]/"],
  ["IPv6 unspecified", "https://[::]/"],
  ["IPv4 mapped into IPv6", "https://[::ffff:127.0.0.1]/"],
  ["the same in hexadecimal", "https://[::ffff:7f00:1]/"],
  ["IPv4-compatible IPv6", "https://[::127.0.0.1]/"],
  ["NAT64", "https://[64:ff9b::7f00:1]/"],
  ["6to4", "https://[2002:7f00:1::]/"],
  ["unique local", "https://[fd00:ec2::254]/"],
  ["IPv6 link-local", "https://[fe80::1]/"],
  ["site-local", "https://[fec0::1]/"],
  ["a name that resolves to loopback", "https://rebound.example.com/"],
  ["a name with a private address among others", "https://half.example.com/"],
  ["a name that resolves to the metadata service", "https://metadata.example.com/"],
  ["a name whose IPv6 address is mapped", "https://mapped.example.com/"],
  ["a name whose IPv6 address is the metadata service", "https://metadata6.example.com/"],
] as const;

for (const [what, url] of PRIVATE) {
  Deno.test(`public address · rejected: ${what}`, () => assert.rejects(check(url), PrivateAddress));
}

Deno.test("public address · a name that cannot be resolved is rejected, and may be retried", async () => {
  for (const broken of [resolve, () => Promise.reject(new Error("SERVFAIL"))]) {
    const error = await assertPublic(new URL("https://nowhere.example.com/"), broken).catch((error: unknown) => error);
    assert.ok(error instanceof Error && !(error instanceof PrivateAddress));
  }
  const half = (name: string, type: "A" | "AAAA") =>
    type === "A" ? resolve(name, type) : Promise.reject(new Error("SERVFAIL"));
  await assert.rejects(assertPublic(new URL("https://hooks.example.com/"), half), {
    message: "hooks.example.com cannot be resolved: SERVFAIL",
  });
});
