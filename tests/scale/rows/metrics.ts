// A year of metrics, as the roll-up leaves them: minutes and five minutes of 2 days, hours of 90 days, all days.
import { timed } from "../../bench/timed.ts";
import { asJson, medianMs, monitoringLine, tickLine } from "../calls.ts";
import type { Line } from "../line.ts";
import { type Row, type ScaleSetup, vacuum } from "../setup.ts";

const MINUTES = { hour: 60, day: 1_440, week: 10_080, month: 43_200, year: 525_600 };
const NEW = 1_000; // dispatches that the measured roll-up adds

export const metricsRow: Row = {
  name: "metrics",
  async measure(setup) {
    const { admin, service, sizes, report } = setup;
    const beside = `${sizes.metrics.days} days of metrics of ${sizes.metrics.types} types`;
    report(`storing ${beside}`);
    await storeMetrics(setup);
    const lines: Line[] = [];
    for (const [name, minutes] of Object.entries(MINUTES)) {
      lines.push({
        label: `metrics of the last ${name}, ${beside}`,
        unit: "ms",
        value: await medianMs(sizes.calls, () => service`select messenger_metrics(${minutes})`),
      });
    }
    const messages = Array.from({ length: NEW }, (_, n) => ({ type: `Scale${n % sizes.metrics.types}` }));
    await service`select * from messenger_dispatch_batch(${service.json(asJson(messages))})`;
    const [{ rows, bytes }] = await admin<{ rows: string; bytes: string }[]>`
      select count(*) as rows, pg_total_relation_size('messenger.metrics')
        + pg_total_relation_size('messenger.metric_errors') as bytes
      from messenger.metrics`;
    lines.push(
      {
        label: `tick that rolls up ${NEW} new messages, ${beside}`,
        unit: "ms",
        value: await timed(() => service`select messenger_tick()`),
      },
      await tickLine(setup, beside),
      await monitoringLine(setup, beside),
      { label: `size of ${beside}`, unit: "MB", value: Number(bytes) / 1e6, note: `${rows} rows, with their indexes.` },
    );
    return lines;
  },
};

/** One row per step and type, with a histogram of 40 buckets and three error classes. */
async function storeMetrics({ admin, sizes: { metrics } }: ScaleSetup): Promise<void> {
  const steps = `
    select step, date_bin(make_interval(secs => step), now(), '2000-01-01 00:00+00') - n * make_interval(secs => step)
      as at
    from (values (60, 2), (300, 2), (3600, ${Math.min(90, metrics.days)}), (86400, ${metrics.days})) s(step, days)
    cross join lateral generate_series(1, days * 86400 / step) n`;
  await admin.unsafe(`
    insert into messenger.metrics (step_seconds, at, transport_name, message_type, dispatched, completed, retried, dead,
      duration_ms, wait_count, waited_ms, histogram)
    select step, at, 'supabase', 'Scale' || type, step, step, 2, 1, step * 12.5, step, step * 3.5,
      messenger.pack_histogram(array(select 1 + (b * type) % 50 from generate_series(1, 40) b))
    from (${steps}) s cross join generate_series(0, ${metrics.types - 1}) type`);
  await admin.unsafe(`
    insert into messenger.metrics (step_seconds, at, transport_name, message_type, dispatched, completed, durations)
    select 0, '-infinity', 'supabase', 'Scale' || type, 1000000, 1000000, array_fill(25000::bigint, '{40}')
    from generate_series(0, ${metrics.types - 1}) type`);
  await admin.unsafe(`
    insert into messenger.metric_errors (step_seconds, at, message_type, error_class, error_count, error, last_at)
    select step, at, 'Scale' || error, 'Error' || error, 2, 'boom', at
    from (${steps}) s cross join generate_series(0, 2) error`);
  await vacuum(admin);
}
