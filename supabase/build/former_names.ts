// Functions of an earlier release under their former names. A call that waits while the upgrade commits continues with
// its old body, whose statements are planned again by name. The next run of the full migration drops them.
import { createHash } from "node:crypto";
import type { Manifest, ManifestRow } from "./manifest.ts";
import { type Rename, splitLast } from "./renames.ts";

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
    const renamed = `${splitLast(object)[0]}.${name}`;
    const next = to.find(([rowKind, signature]) => rowKind === "function" && signature.startsWith(`${renamed}(`));
    return kind === "function" && isCalled && next && takes(next, row) ? [{ row, renamed }] : [];
  });
  const functions = found.map(({ row, renamed }) => functionOf(row, renamed));
  return {
    create: functions.flatMap(({ create }) => create),
    drop: found.map(({ row: [, signature] }) => `drop function if exists ${signature};`),
    rows: functions.flatMap(({ rows }) => rows),
  };
}

/** True when the types of the former arguments lead those of the new ones; further ones have defaults. */
function takes(next: ManifestRow, former: ManifestRow): boolean {
  const types = argumentTypes(next);
  return argumentTypes(former).every((type, index) => types[index] === type);
}

function argumentTypes([, signature]: ManifestRow): string[] {
  const list = signature.slice(signature.indexOf("(") + 1, -1);
  return list === "" ? [] : list.split(", ").map((argument) => argument.slice(argument.indexOf(" ") + 1));
}

const PATH = "pg_catalog, pg_temp";

/** A function of the former name that calls the new one, and its rows of the manifest. */
function functionOf(row: ManifestRow, renamed: string): { create: string[]; rows: Manifest } {
  const [, signature, definition] = row;
  const [, returns, volatility] = definition?.match(/^returns (.*?) language \w+ (\w+) /) ?? [];
  const call = `${renamed}(${argumentTypes(row).map((_, index) => `$${index + 1}`).join(", ")})`;
  const body = /^(TABLE|SETOF)/.test(returns) ? ` select * from ${call} ` : ` select ${call} `;
  const source = createHash("md5").update(body).digest("hex");
  return {
    create: [
      `create or replace function ${signature}\nreturns ${returns}\nlanguage sql ${volatility}\n` +
      `set search_path = ${PATH}\nas $$${body}$$;`,
      `comment on function ${signature} is ` +
      `'Former name of ${renamed}, for calls that wait while the upgrade commits.';`,
      `revoke all on function ${signature} from public, anon, authenticated, service_role;`,
      `grant execute on function ${signature} to ${ROLE};`,
    ],
    rows: [
      [
        "function",
        signature,
        `returns ${returns} language sql ${volatility} invoker {"search_path=${PATH}"} source ${source}`,
      ],
      ["grant", `function ${signature} to ${ROLE}`, "execute"],
    ],
  };
}
