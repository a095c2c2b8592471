// Functions of an earlier release under their former names. A call that waits while the upgrade commits continues with
// its old body, whose statements are planned again by name. The next run of the full migration drops them.
import { createHash } from "node:crypto";
import type { Manifest, ManifestRow } from "./manifest.ts";
import type { Rename } from "./renames.ts";

export interface FormerNames {
  create: string[];
  drop: string[];
  /** What they add to the manifest of an upgraded database. */
  rows: Manifest;
}

const ROLE = "service_role"; // a call that waits is one of the API; the ticker is undone and ticks again

/** @param from the earlier manifest, with the new names of its types */
export function formerNames(from: Manifest, to: Manifest, renames: readonly Rename[]): FormerNames {
  const found = renames.flatMap(([kind, object, name]) => {
    const row = from.find(([rowKind, signature]) => rowKind === "function" && signature.startsWith(`${object}(`));
    const isCalled = row &&
      from.some(([rowKind, grant]) => rowKind === "grant" && grant === `function ${row[1]} to ${ROLE}`);
    const renamed = `${object.split(".")[0]}.${name}`;
    const next = to.find(([rowKind, signature]) => rowKind === "function" && signature.startsWith(`${renamed}(`));
    return kind === "function" && isCalled && next && takes(next, row) ? [{ row, renamed }] : [];
  });
  return {
    create: found.flatMap(({ row, renamed }) => createOf(row, renamed)),
    drop: found.map(({ row: [, signature] }) => `drop function if exists ${signature};`),
    rows: found.flatMap(({ row, renamed }) => rowsOf(row, renamed)),
  };
}

/** True when the types of the former arguments lead those of the new ones; further ones have defaults. */
function takes(next: ManifestRow, former: ManifestRow): boolean {
  const types = argumentsOf(next).map(({ type }) => type);
  return argumentsOf(former).every(({ type }, index) => types[index] === type);
}

function argumentsOf([, signature]: ManifestRow): { name: string; type: string }[] {
  const list = signature.slice(signature.indexOf("(") + 1, -1);
  return list === "" ? [] : list.split(", ").map((argument) => {
    const [name, ...type] = argument.split(" ");
    return { name, type: type.join(" ") };
  });
}

const PATH = "pg_catalog, pg_temp";

function createOf(row: ManifestRow, renamed: string): string[] {
  const [, signature] = row;
  const { returns, volatility, body } = partsOf(row, renamed);
  return [
    `create or replace function ${signature}\nreturns ${returns}\nlanguage sql ${volatility}\n` +
    `set search_path = ${PATH}\nas $$${body}$$;`,
    `comment on function ${signature} is 'Former name of ${renamed}, for calls that wait while the upgrade commits.';`,
    `revoke all on function ${signature} from public, anon, authenticated, service_role;`,
    `grant execute on function ${signature} to ${ROLE};`,
  ];
}

function rowsOf(row: ManifestRow, renamed: string): Manifest {
  const [, signature] = row;
  const { returns, volatility, body } = partsOf(row, renamed);
  const source = createHash("md5").update(body).digest("hex");
  const definition = `returns ${returns} language sql ${volatility} invoker {"search_path=${PATH}"} source ${source}`;
  return [["function", signature, definition], ["grant", `function ${signature} to ${ROLE}`, "execute"]];
}

function partsOf(row: ManifestRow, renamed: string): { returns: string; volatility: string; body: string } {
  const [, returns, volatility] = row[2]?.match(/^returns (.*?) language \w+ (\w+) /) ?? [];
  const call = `${renamed}(${argumentsOf(row).map((_, index) => `$${index + 1}`).join(", ")})`;
  const isSet = /^(TABLE|SETOF)/.test(returns);
  return { returns, volatility, body: isSet ? ` select * from ${call} ` : ` select ${call} ` };
}
