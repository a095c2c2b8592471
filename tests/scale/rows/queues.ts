// Thousands of queues with future messages and a few due ones.
import { claim, firstCallMs, medianMs, monitoringLine, tickLine } from "../calls.ts";
import { type Line, short } from "../line.ts";
import { type Row, vacuum } from "../setup.ts";
import { store } from "../store.ts";

export const queuesRow: Row = {
  name: "queues",
  async measure(setup) {
    const { admin, service, sizes, report } = setup;
    const { count, futureEach, due } = sizes.queues;
    const beside = `${count.toLocaleString("en-US")} queues of future messages`;
    report(`storing ${short(count * futureEach)} future messages in ${short(count)} queues`);
    await store(setup, {
      messages: count * futureEach,
      days: { from: 1, to: 0 },
      columns: { queue_name: `'queue-' || n % ${count}`, available_at: "now() + interval '1 day'" },
    });
    // With a URL the tick also looks for due messages without a worker; no request leaves the database.
    await admin`
      insert into messenger.settings (functions_url) values ('http://127.0.0.1:9/functions/v1')
      on conflict (singleton) do update set functions_url = excluded.functions_url`;
    await vacuum(admin);
    const lines: Line[] = [
      {
        label: `empty claim beside ${beside}`,
        unit: "ms",
        value: await medianMs(sizes.calls, () => claim(service, 10)),
      },
      {
        label: `first empty claim of a session beside ${beside}`,
        unit: "ms",
        value: await firstCallMs(setup, (sql) => claim(sql, 10)),
      },
      await tickLine(setup, beside),
      await monitoringLine(setup, beside),
    ];
    // One message in each of the due queues: every claim has to find its messages in ten of them.
    await store(setup, {
      messages: due,
      days: { from: 0.01, to: 0 },
      columns: { queue_name: `'queue-' || n * ${Math.floor(count / due)}` },
    });
    await vacuum(admin);
    const batches: number[] = [];
    let claimed = 0;
    while (claimed < due) {
      const begin = performance.now();
      const { length } = await claim(service, 10);
      if (length === 0) throw new Error(`only ${claimed} of ${due} due messages could be claimed`);
      batches.push(performance.now() - begin);
      claimed += length;
    }
    lines.push({
      label: `claim of ${due} messages, due in ${due} queues, per message`,
      unit: "ms",
      value: batches.reduce((sum, ms) => sum + ms, 0) / due,
      note: `${batches.length} claims of at most 10, one after the other.`,
    });
    return lines;
  },
};
