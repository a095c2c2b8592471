// A million dead letters: lists, requeue, pruning, monitoring and the tick.
import { timed } from "../../bench/timed.ts";
import { monitoringLine, prune, tickLine } from "../calls.ts";
import { type Line, short } from "../line.ts";
import { type Row, type ScaleSetup, vacuum } from "../setup.ts";
import { store } from "../store.ts";

const FILTERS = [
  `messenger_list_failed('{"type": "Scale3"}')`,
  `messenger_list_failed('{"error_class": "Rare"}')`,
  `messenger_list_failed('{"queue": "queue-3", "from": "2020-01-01T00:00:00Z"}')`,
  `messenger_list_failed('{"resolved": true}')`,
  `messenger_list_failed('{}', skip => 10000)`,
];
const PRUNING_TICKS = 10;

export const deadLettersRow: Row = {
  name: "dead_letters",
  async measure(setup) {
    const { admin, service, sizes: { deadLetters }, report } = setup;
    const beside = `${short(deadLetters.stored)} dead letters`;
    report(`storing ${beside}`);
    await storeDeadLetters(setup);
    const lines: Line[] = [await monitoringLine(setup, beside, FILTERS)];
    const stay = await tickLine(setup, `${beside} older than the retention`);
    for (const [name, filter] of [["any", "{}"], ["a rare error class", '{"error_class": "Rare"}']]) {
      lines.push({
        label: `requeue of ${deadLetters.requeued} of ${beside}, ${name}`,
        unit: "ms",
        value: await timed(() =>
          service`select count(*) from messenger_retry_failed(filter => ${filter}::text::jsonb,
            max => ${deadLetters.requeued})`
        ),
      });
    }
    await admin`
      update messenger_failed_messages set resolved_at = now() - interval '31 days', resolution = 'discarded'
      where id in (
        select id from messenger_failed_messages where resolved_at is null order by id limit ${deadLetters.resolved})`;
    await vacuum(admin);
    const { rows, ms } = await prune(admin, "prune_dead_letters", "messenger_failed_messages", PRUNING_TICKS);
    lines.push({
      label: `dead letters pruned beside ${beside}`,
      unit: "per second",
      value: rows / ms * 1_000,
      note: `${rows} rows in ${PRUNING_TICKS} ticks.`,
    }, stay);
    return lines;
  },
};

/** Messages that failed 8 to 60 days ago, each with an open dead letter; one of a thousand has a rare error class. */
async function storeDeadLetters(setup: ScaleSetup): Promise<void> {
  const { admin, sizes: { deadLetters } } = setup;
  await store(setup, {
    messages: deadLetters.stored,
    days: { from: 60, to: 8 },
    columns: {
      queue_name: "'queue-' || n % 5",
      status: "'failed'",
      processed_at: "at + interval '1 second'",
      fence: "4",
      retry_count: "4",
      last_error: "'boom ' || n",
      error_class: "case when n % 1000 = 0 then 'Rare' else 'Error' || n % 7 end",
    },
  });
  await admin`
    insert into messenger_failed_messages (id, message_id, transport_name, queue_name, message_type, body, error,
      error_class, error_trace, attempts, retry_count, max_retries, failed_at, created_at)
    select m.id, m.id, m.transport_name, m.queue_name, m.message_type, m.body, m.last_error, m.error_class,
      repeat('trace ', 100), jsonb_build_array(jsonb_build_object('at', m.processed_at, 'error', m.last_error)),
      4, 3, m.processed_at, m.created_at
    from messenger_messages m`;
  await vacuum(admin);
}
