// Where webhooks may go: the public internet, and nothing that only this machine or its network can reach.
import ipaddr from "ipaddr.js";
import { Unrecoverable } from "../../shared/errors.ts";

/** The URL leads to a place that is not public. */
export class PrivateAddress extends Unrecoverable {
  override readonly name = "PrivateAddress";
}

/** Addresses of a name; no records are `Deno.errors.NotFound`. */
export type Resolve = (name: string, type: "A" | "AAAA") => Promise<string[]>;

const LOCAL_NAMES = /(^[^.]+|\.(localhost|local|internal|lan|intranet|home\.arpa))$/;
const AZURE_HOST = "168.63.129.16"; // public by its number, but each virtual machine's own host answers there
// For the library what nobody has assigned is unicast too, ::127.0.0.1 among it.
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR("2000::/3");

/**
 * All addresses of the host must be public. What fetch resolves a moment later may differ, and no API of the edge runtime lets it be told: who
 * controls a name's DNS can win that race, so private services should not trust whoever reaches them.
 * @throws PrivateAddress where the URL is not https or leads to a private place; Error where the name cannot be resolved
 */
export async function assertPublic({ protocol, hostname }: URL, resolve: Resolve = resolveDns): Promise<void> {
  if (protocol !== "https:") throw new PrivateAddress("Webhooks go to https:// URLs.");
  // WHATWG's URL has turned 0x7f.1, 2130706433 and full-width digits into 127.0.0.1 before this.
  const host = hostname.replace(/^\[|\]$|\.$/g, "");
  if (ipaddr.isValid(host)) return assertAddress(host, host);
  if (LOCAL_NAMES.test(host)) throw new PrivateAddress(`${host} is a name for private places.`);
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

/** Mapped IPv6 addresses are judged as the IPv4 address they hold; compatible and translated ones (6to4, NAT64) are not public. */
function assertAddress(text: string, host: string): void {
  const address = ipaddr.process(text);
  const isGlobal = address instanceof ipaddr.IPv4 ? address.toString() !== AZURE_HOST : address.match(...GLOBAL_IPV6);
  if (isGlobal && address.range() === "unicast") return;
  throw new PrivateAddress(`${host} leads to ${text}, which is no public address.`);
}

function resolveDns(name: string, type: "A" | "AAAA"): Promise<string[]> {
  return Deno.resolveDns(name, type);
}
