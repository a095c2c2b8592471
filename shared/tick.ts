// What a call of the scheduler door may ask for.
import { z } from "zod";
import { parse } from "./parse.ts";

const tickRequest = z.strictObject({ batch: z.int().min(1).max(1_000).optional() });

export function parseTick(value: unknown): { batch?: number } {
  return parse(tickRequest, value, { batch: "SM_BATCH" });
}
