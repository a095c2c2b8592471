// Reads rows of a table or view in schema public by PostgREST's query language: select, filters, order, limit, offset.
import { ApiError } from "./api_error.ts";
import type { Catalog, Relation } from "./catalog.ts";
import type { Pool } from "./connection.ts";
import type { Caller } from "./identity.ts";
import { quote, type Reply, runAs } from "./session.ts";

const COMPARISONS: Record<string, string> = {
  eq: "=",
  neq: "<>",
  gt: ">",
  gte: ">=",
  lt: "<",
  lte: "<=",
  like: "like",
  ilike: "ilike",
};
const IS = ["null", "not_null", "true", "false", "unknown"];
const RESERVED = ["select", "order", "limit", "offset", "apikey"];

/** Reads the rows that row level security lets the caller see. */
export async function readRows(
  pool: Pool,
  catalog: Catalog,
  caller: Caller,
  request: Request,
  table: string,
): Promise<Reply> {
  let snapshot = await catalog.current();
  if (!snapshot.relations.has(table)) {
    catalog.invalidate();
    snapshot = await catalog.current();
  }
  const relation = snapshot.relations.get(table);
  if (!relation) throw new ApiError(404, "PGRST205", `Could not find the table 'public.${table}' in the schema cache`);

  const query = new URL(request.url).searchParams;
  const values: string[] = [];
  const where = [...query].filter(([key]) => !RESERVED.includes(key))
    .map(([column, filter]) => condition(relation, column, filter, values));
  const from = `from public.${quote(table)}${where.length ? ` where ${where.join(" and ")}` : ""}`;
  const page = ["limit", "offset"].filter((word) => query.has(word))
    .map((word) => `${word} ${wholeNumber(word, query.get(word) ?? "")}`).join(" ");
  const rows = `select ${selected(relation, query.get("select") ?? "*")} ${from}${
    ordered(relation, query.get("order"))
  } ${page}`;
  const total = request.headers.get("prefer")?.includes("count=exact") ? `(select count(*)::int ${from})` : "null";
  const body = "coalesce(json_agg(r), '[]')::text";
  const text = `with r as (${rows}) select ${body} as body, count(*)::int as rows, ${total} as total from r`;
  return await runAs(pool, caller, request, snapshot, { text, values, readOnly: true });
}

/** `a,b` or `alias:a`; embedding, casts and JSON paths are rejected. */
function selected(relation: Relation, select: string): string {
  return select.split(",").map((item) => {
    const [column, alias] = item.trim().split(":").reverse();
    if (column === "*") return "*";
    return `${quote(columnOf(relation, column))}${alias ? ` as ${quote(alias)}` : ""}`;
  }).join(", ");
}

function ordered(relation: Relation, order: string | null): string {
  if (!order) return "";
  const terms = order.split(",").map((term) => {
    const [column, ...modifiers] = term.split(".");
    const words = modifiers.map((modifier) => {
      if (modifier === "asc" || modifier === "desc") return modifier;
      if (modifier === "nullsfirst" || modifier === "nullslast") return `nulls ${modifier.slice(5)}`;
      throw unparsable("order", order);
    });
    return [quote(columnOf(relation, column)), ...words].join(" ");
  });
  return ` order by ${terms.join(", ")}`;
}

function condition(relation: Relation, column: string, filter: string, values: string[]): string {
  const [, negated, operator, operand] = /^(not\.)?(\w+)\.(.*)$/s.exec(filter) ?? [];
  if (operator === undefined) throw unparsable("filter", `${column}=${filter}`);
  const left = quote(columnOf(relation, column));
  const bound = (value: string) => `$${values.push(value)}::text::${relation.columns[column]}`;
  return `${negated ? "not " : ""}(${comparison()})`;

  function comparison(): string {
    if (operator === "in") return `${left} in (${listItems(operand).map(bound).join(", ") || "null"})`;
    if (operator === "is" && IS.includes(operand)) return `${left} is ${operand.replace("_", " ")}`;
    if (operator === "like" || operator === "ilike") {
      return `${left}::text ${operator} $${values.push(operand.replaceAll("*", "%"))}::text`;
    }
    if (operator in COMPARISONS) return `${left} ${COMPARISONS[operator]} ${bound(operand)}`;
    throw unparsable("filter", `${column}=${filter}`);
  }
}

/** `(a,"b,c")` as `a` and `b,c`. */
function listItems(list: string): string[] {
  const inner = /^\((.*)\)$/s.exec(list)?.[1];
  if (inner === undefined) throw unparsable("list", list);
  return [...inner.matchAll(/"((?:[^"\\]|\\.)*)"|([^,]+)/gs)]
    .map(([, quoted, plain]) => quoted?.replace(/\\(.)/gs, "$1") ?? plain);
}

function columnOf(relation: Relation, column: string): string {
  if (Object.hasOwn(relation.columns, column)) return column;
  throw new ApiError(
    400,
    "42703",
    `column ${relation.name}.${column} does not exist`,
    null,
    "The local stand-in reads plain columns only: no embedding, casts, JSON paths or logical operators.",
  );
}

function wholeNumber(word: string, text: string): string {
  if (/^\d{1,18}$/.test(text)) return text;
  throw unparsable(word, text);
}

function unparsable(part: string, text: string): ApiError {
  return new ApiError(400, "PGRST100", `"failed to parse ${part} (${text})"`);
}
