// Restricts webhooks to addresses on the public internet.
import ipaddr from "ipaddr.js";
import { Unrecoverable } from "../../shared/errors.ts";

/** The URL leads to an address that is not public. */
export class PrivateAddress extends Unrecoverable {
  override readonly name = "PrivateAddress";
}

/** Resolves a name to addresses; throws `Deno.errors.NotFound` if it has none of the type. */
export type Resolve = (name: string, type: "A" | "AAAA") => Promise<string[]>;

const LOCAL_NAMES = /(^[^.]+|\.(localhost|local|internal|lan|intranet|home\.arpa))$/;
const AZURE_HOST = "168.63.129.16"; // in a public range, but on Azure it is the host of the virtual machine
// The library counts unassigned addresses as unicast, including ::127.0.0.1.
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR("2000::/3");

/**
 * All addresses of the host must be public. fetch resolves the name again and cannot be given an address in the edge
 * runtime, so a name whose DNS changes in between can still lead to a private address: private services need their own
 * authentication.
 * @throws PrivateAddress if the URL is not https or leads to a private address; Error if the name cannot be resolved
 */
export async function assertPublic({ protocol, hostname }: URL, resolve: Resolve = resolveDns): Promise<void> {
  if (protocol !== "https:") throw new PrivateAddress("The URL of a webhook must begin with https://.");
  // The URL parser has already converted 0x7f.1, 2130706433 and full-width digits to 127.0.0.1.
  const host = hostname.replace(/^\[|\]$|\.$/g, "");
  if (ipaddr.isValid(host)) return assertAddress(host, host);
  if (LOCAL_NAMES.test(host)) throw new PrivateAddress(`${host} is a name of private networks.`);
  const found = await Promise.all((["A", "AAAA"] as const).map((type) =>
    resolve(host, type).catch((error: unknown) => {
      if (error instanceof Deno.errors.NotFound) return [];
      throw new Error(`${host} cannot be resolved: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    })
  ));
  const addresses = found.flat();
  if (addresses.length === 0) throw new Error(`${host} has no address.`);
  for (const address of addresses) assertAddress(address, host);
}

/** A mapped IPv6 address counts as its IPv4 address; compatible and translated ones (6to4, NAT64) are not public. */
function assertAddress(text: string, host: string): void {
  const address = ipaddr.process(text);
  const isGlobal = address instanceof ipaddr.IPv4 ? address.toString() !== AZURE_HOST : address.match(...GLOBAL_IPV6);
  if (isGlobal && address.range() === "unicast") return;
  throw new PrivateAddress(`${host} leads to ${text}, which is not a public address.`);
}

function resolveDns(name: string, type: "A" | "AAAA"): Promise<string[]> {
  return Deno.resolveDns(name, type);
}
