// Pruning beside a million unfinished messages that are older than the retention, against pruning without them.
import { prune, type Pruned, tickLine } from "../calls.ts";
import { short } from "../line.ts";
import { clear, type Row, type ScaleSetup, vacuum } from "../setup.ts";
import { FINISHED, store } from "../store.ts";

export const pruneRow: Row = {
  name: "prune",
  async measure(setup) {
    const { finished, unfinished } = setup.sizes.prune;
    const alone = await pruneBeside(setup, 0);
    await clear(setup);
    const mixed = await pruneBeside(setup, unfinished);
    const beside = `${short(unfinished)} delayed messages older than the retention`;
    const lines = [
      {
        label: `messages pruned beside ${beside}`,
        unit: "per second" as const,
        value: mixed.rows / mixed.ms * 1_000,
        note: `${short(finished)} rows, interleaved with the delayed ones. Without those: ${
          Math.round(alone.rows / alone.ms * 1_000)
        } per second. A scan visits a delayed message once and then pauses.`,
      },
      await tickLine(setup, beside),
    ];
    return lines;
  },
};

/** Finished messages are 20 to 10 days old, and each has the same number of delayed ones before it. */
async function pruneBeside(setup: ScaleSetup, unfinished: number): Promise<Pruned> {
  const { admin, sizes: { prune: { finished } }, report } = setup;
  const each = 1 + unfinished / finished;
  report(
    `storing ${short(finished)} finished messages${unfinished ? ` beside ${short(unfinished)} delayed ones` : ""}`,
  );
  const when = (done: string, delayed: string) => `case when n % ${each} = 0 then ${done} else ${delayed} end`;
  await store(setup, {
    messages: finished + unfinished,
    days: { from: 20, to: 10 },
    columns: {
      status: when(FINISHED.status, "'pending'"),
      processed_at: when(FINISHED.processed_at, "null"),
      fence: when(FINISHED.fence, "0"),
      available_at: when("at", "now() + interval '30 days'"),
    },
  });
  await vacuum(admin);
  const total: Pruned = { rows: 0, ms: 0 };
  while (total.rows < finished) {
    const { rows, ms } = await prune(admin, "prune_messages", "messenger_messages", 10);
    total.rows += rows;
    total.ms += ms;
  }
  return total;
}
