// Percentiles of the histogram against exact ones: at most 19 percent, or a millisecond, off.
import assert from "node:assert/strict";
import fc from "fast-check";
import { empty, test, useProject } from "../../project.ts";
import { callValue } from "../bus.ts";

const project = useProject();
Deno.test.beforeEach(() => empty(project().sql));

const SHARES = [0.5, 0.95, 0.99] as const;

/** The smallest duration that at least this share does not exceed. */
function exact(durations: number[], share: number): number {
  const sorted = durations.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length - 1e-9) - 1)];
}

async function measure(durations: number[]): Promise<number[]> {
  const { sql } = project();
  await empty(sql);
  for (let from = 0; from < durations.length; from += 1000) {
    const part = durations.slice(from, from + 1000);
    await sql`insert into messenger.measurements (at, transport_name, message_type, kind, message_count, durations)
      values (now(), 'supabase', 'Greeting', 'completed', ${part.length}, ${part}::real[])`;
  }
  if (durations.length % 2) await sql`select messenger.roll_up()`;
  const reply = await callValue(sql, "messenger_metrics");
  const mean = durations.reduce((a, b) => a + b, 0) / durations.length;
  assert(
    Math.abs(reply.averageProcessingTime - mean) <= 0.001 + mean * 1e-5,
    `${reply.averageProcessingTime} ${mean}`,
  );
  return [reply.p50ProcessingTime, reply.p95ProcessingTime, reply.p99ProcessingTime];
}

function assertClose(found: number[], durations: number[]) {
  for (const [n, share] of SHARES.entries()) {
    const expected = Math.fround(exact(durations, share));
    const bound = Math.max(1, expected * (2 ** 0.25 - 1));
    assert(
      Math.abs(found[n] - expected) <= bound + 0.001,
      `p${share * 100} of ${durations}: ${found[n]}, exactly ${expected}`,
    );
  }
}

test("percentiles · within the bound for any durations", async () => {
  const duration = fc.oneof(
    fc.integer({ min: 0, max: 5 }),
    fc.integer({ min: 0, max: 44_000_000 }),
    fc.integer({ min: 0, max: 10_000_000 }).map((us) => us / 1_000),
    fc.integer({ min: 0, max: 25 }).map((power) => 2 ** power),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(duration, { minLength: 1, maxLength: 60 }), async (durations) => {
      assertClose(await measure(durations), durations);
    }),
    { numRuns: 150 },
  );
});

test("percentiles · of thousands of typical handlers: most fast, a long tail", async () => {
  let seed = 7;
  const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const durations = Array.from(
    { length: 5_001 },
    () => Math.round(20 * Math.exp(3 * random() ** 2 + (random() < 0.02 ? 5 : 0))),
  );
  assertClose(await measure(durations), durations);
});

test("percentiles · each limit falls into its own bucket", async () => {
  const { sql } = project();
  const limits = await sql`select b::int, messenger.bucket_limit(b)::numeric as limit from generate_series(0, 102) b`;
  for (const { b, limit } of limits) {
    const ms = Number(limit);
    if (b % 4 === 0) assert.equal(ms, 2 ** (b / 4));
    const at = async (ms: number) => {
      await sql`truncate messenger.measurements`;
      const [row] = await sql`select array_position(s.durations, 1) - 1 as bucket from messenger.summarize(array[row(
        1, now(), 'supabase', 'T', 'completed', 1, array[${ms}::real], 0, null, null,
        null, 0)::messenger.measurements]) s`;
      return row.bucket;
    };
    if (b % 4 === 0) assert.equal(await at(ms), b);
    assert.equal(await at(ms * 1.01), b + 1);
  }
});

test("percentiles · above 13 hours are reported as 13 hours", async () => {
  const [p50] = await measure([1e8]);
  assert.equal(p50, Number((2 ** 25.5).toFixed(3)));
});
