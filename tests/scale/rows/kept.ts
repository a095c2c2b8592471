// Ten million kept messages against ten thousand: the cost of a message, sizes, monitoring, the tick and pruning.
import { median } from "../../bench/line.ts";
import { monitoringLine, prune, tickLine } from "../calls.ts";
import { type Line, short } from "../line.ts";
import { clear, type Row, type ScaleSetup, vacuum } from "../setup.ts";
import { FINISHED, store } from "../store.ts";

const FILTERS = [
  `messenger_list_messages('{"status": "completed"}')`,
  `messenger_list_messages('{"type": "Scale3"}')`,
  `messenger_list_messages('{"type": "Absent"}')`,
  `messenger_list_messages('{"queue": "queue-3", "from": "2020-01-01T00:00:00Z"}')`,
];
const PRUNING_TICKS = 40;

interface Costs {
  /** Microseconds of server CPU per message. */
  dispatch: number[];
  handle: number[];
  /** Messages handled per second. */
  rate: number[];
}

export const keptRow: Row = {
  name: "kept",
  async measure(setup) {
    const { admin, sizes: { kept } } = setup;
    const costs = { few: newCosts(), many: newCosts() };
    await storeKept(setup, kept.few);
    await measureCosts(setup, costs.few, kept.few);
    await clear(setup);
    await storeKept(setup, kept.many);
    const beside = `${short(kept.many)} kept messages`;
    const lines = await sizesOf(setup, kept.many);
    await measureCosts(setup, costs.many, kept.many);
    lines.push(await monitoringLine(setup, beside, FILTERS), await tickLine(setup, beside));

    await admin`update messenger_transports set config = '{"retention": "1 day"}'`;
    const { rows, ms } = await prune(admin, "prune_messages", "messenger_messages", PRUNING_TICKS);
    const note = `${rows} rows in ${PRUNING_TICKS} ticks.`;
    lines.push(
      { label: `messages pruned of ${beside}`, unit: "per second", value: rows / ms * 1_000, note },
      { label: `messages pruned per tick of ${beside}`, unit: "rows", value: rows / PRUNING_TICKS },
    );

    // The machine may have become faster or slower meanwhile.
    await clear(setup);
    await storeKept(setup, kept.few);
    await measureCosts(setup, costs.few, kept.few);
    return [...costLines(costs, kept.few, kept.many), ...lines];
  },
};

/** Six days of finished messages. */
async function storeKept(setup: ScaleSetup, messages: number): Promise<void> {
  setup.report(`storing ${short(messages)} finished messages`);
  await store(setup, {
    messages,
    days: { from: 6, to: 0 },
    columns: { ...FINISHED, queue_name: "'queue-' || n % 5" },
  });
  await vacuum(setup.admin);
}

async function measureCosts({ bus, meter, admin, sizes, report }: ScaleSetup, costs: Costs, beside: number) {
  const { handled: messages, rounds } = sizes.kept;
  for (let round = 1; round <= rounds; round++) {
    report(`dispatching and handling ${short(messages)} beside ${short(beside)}, round ${round} of ${rounds}`);
    const dispatched = await meter.around(() => bus.stock(messages));
    await vacuum(admin);
    const { result, spent } = await meter.around(() =>
      bus.drain({ messages, batch: 100, consumers: 4, within: 60_000 })
    );
    if (result.handled < messages) throw new Error(`only ${result.handled} of ${messages} messages were handled`);
    costs.dispatch.push(dispatched.spent.cpu / messages);
    costs.handle.push(spent.cpu / messages);
    costs.rate.push(messages / result.ms * 1_000);
  }
}

function costLines(costs: { few: Costs; many: Costs }, few: number, many: number): Line[] {
  const of = (what: keyof Costs): [number, number] => [median(costs.few[what]), median(costs.many[what])];
  const line = (label: string, [small, large]: [number, number], unit: string): Line => ({
    label: `${label}, ${short(many)} kept / ${short(few)} kept`,
    unit: "times",
    value: large / small,
    note: `${large.toFixed(1)} / ${small.toFixed(1)} ${unit}.`,
  });
  return [
    line("CPU of claim and settle per message", of("handle"), "us"),
    line("CPU of dispatch per message, in batches of 1000", of("dispatch"), "us"),
    line("rate of claim and settle", of("rate"), "per second"),
  ];
}

async function sizesOf({ admin }: ScaleSetup, rows: number): Promise<Line[]> {
  const [{ table, indexes }] = await admin<{ table: string; indexes: string }[]>`
    select pg_table_size('messenger_messages') as table, pg_indexes_size('messenger_messages') as indexes`;
  return [
    { label: "table per kept message", unit: "bytes", value: Number(table) / rows, note: "The payload has 97 bytes." },
    { label: "indexes per kept message", unit: "bytes", value: Number(indexes) / rows },
  ];
}

function newCosts(): Costs {
  return { dispatch: [], handle: [], rate: [] };
}
