// SQL templates of supabase/build/sql: `@NAME@` is replaced by a value, lists become SQL arrays.

const folder = new URL("./sql/", import.meta.url);

export function fill(file: string, values: Record<string, string | string[]>): string {
  const text = Deno.readTextFileSync(new URL(file, folder)).trimEnd();
  return text.replace(/@([A-Z_]+)@/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`${file} needs a value for ${name}`);
    return typeof value === "string" ? value : sqlArray(value);
  });
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function sqlArray(items: string[]): string {
  return items.length === 0 ? "'{}'::text[]" : `array[\n    ${items.map(literal).join(",\n    ")}\n  ]`;
}
