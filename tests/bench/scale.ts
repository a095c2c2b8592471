// The figures of the long run at scale, which another program writes to docs/scale.json.
import { z } from "zod";

const scale = z.object({
  machine: z.string(),
  date: z.string(),
  lines: z.array(z.object({
    label: z.string(),
    unit: z.string(),
    value: z.union([z.number(), z.string()]),
    note: z.string().optional(),
  })),
});
export type Scale = z.infer<typeof scale>;

/** The stored figures, or undefined if there are none. */
export async function readScale(path: string): Promise<Scale | undefined> {
  const text = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
  return text === undefined ? undefined : scale.parse(JSON.parse(text));
}
