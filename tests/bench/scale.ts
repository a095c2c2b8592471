// The figures of the long run at scale in docs/scale.json, which `npm run scale` writes and the page includes.
import { z } from "zod";
import { machineSchema } from "./machine.ts";

const scale = z.object({
  machine: machineSchema,
  date: z.string(),
  /** Length of the run. */
  minutes: z.number(),
  lines: z.array(z.object({
    label: z.string(),
    unit: z.string(),
    value: z.number(),
    note: z.string().optional(),
  })),
});
export type Scale = z.infer<typeof scale>;

export async function storeScale(path: string, figures: Scale): Promise<void> {
  await Deno.writeTextFile(path, `${JSON.stringify(figures, null, 2)}\n`);
}

/** The stored figures, or undefined if there are none. */
export async function readScale(path: string): Promise<Scale | undefined> {
  const text = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
  return text === undefined ? undefined : scale.parse(JSON.parse(text));
}
