// The results of the last whole run in a file, so that the document can be written again without another run.
import { z } from "zod";
import type { Line } from "./line.ts";
import { machineSchema } from "./machine.ts";

const sample = z.object({ value: z.number(), cpu: z.number().optional(), wal: z.number().optional() });
const target = z.object({
  of: z.enum(["value", "cpu", "wal"]).optional(),
  peer: z.string().optional(),
  must: z.number(),
  aim: z.number().optional(),
});
const line = z.object({
  id: z.string(),
  label: z.string(),
  unit: z.enum(["per second", "ms", "ms per second", "times"]),
  better: z.enum(["higher", "lower"]),
  samples: z.array(z.tuple([z.string(), z.array(sample)])).transform((entries) => new Map(entries)),
  targets: z.array(target).optional(),
  note: z.string().optional(),
  reason: z.string().optional(),
});

const results = z.object({
  machine: machineSchema,
  /** ISO 8601. */
  date: z.string(),
  quick: z.boolean(),
  minutes: z.number(),
  lines: z.array(line),
});
export interface Results extends Omit<z.infer<typeof results>, "lines"> {
  lines: Line[];
}

export async function storeResults(path: string, { lines, ...rest }: Results): Promise<void> {
  const stored = { ...rest, lines: lines.map((one) => ({ ...one, samples: [...one.samples] })) };
  await Deno.writeTextFile(path, JSON.stringify(stored));
}

export async function loadResults(path: string): Promise<Results> {
  return results.parse(JSON.parse(await Deno.readTextFile(path)));
}
