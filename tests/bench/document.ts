// docs/performance.md, made from a run.
import { type DeliveryResult, judge, type Line, medianOf } from "./line.ts";
import type { Machine } from "./machine.ts";
import type { Sizes } from "./sizes.ts";
import { busesOf, figure, mustText, nameOf, ratioText, reachedText } from "./wording.ts";

export interface Circumstances {
  machine: Machine;
  sizes: Sizes;
  quick: boolean;
  minutes: number;
}

export async function writeDocument(
  path: string,
  lines: readonly Line[],
  circumstances: Circumstances,
): Promise<void> {
  await Deno.writeTextFile(path, documentOf(lines, circumstances));
}

function documentOf(lines: readonly Line[], { machine, sizes, quick, minutes }: Circumstances): string {
  const judged = lines.flatMap((line) => {
    const result = judge(line);
    return result ? [{ line, result }] : [];
  });
  return `# Performance

<!-- Written by \`npm run bench -- --write\`; changes by hand are lost. -->
${quick ? "\n**This is a smoke run. It shows that every row runs; its figures mean nothing.**\n" : ""}
${summaryOf(judged.map(({ result }) => result))}

![Times the best peer, by row](performance.svg)

Measured ${new Date().toISOString().slice(0, 10)} in ${minutes.toFixed(0)} minutes: ${
    machine.versions.join(", ")
  }; ${machine.processor},
${machine.cores} cores, ${machine.memory}, ${machine.system}; fsync on. The load, the gateway and the server share these cores.

## Figures

Medians of ${sizes.rounds} rounds (${sizes.heavyRounds} where a million messages are stored first, 1 of the held snapshot). "Times" is the median of the
ratios within each round, so a slow moment of the machine meets both sides of it.

${figuresOf(lines)}

${notesOf(lines)}

## Targets

${targetsOf(judged)}

Targets against pgmq, PgQue and River are not judged here: they are not on npm.

## What a message costs the server

Server CPU of all its processes in microseconds, and write-ahead log in bytes, a message. These hardly depend on the machine's load.

${costsOf(lines)}

## How it is measured

- One PostgreSQL with three installations: \`messenger_*\`, schema \`graphile_worker\`, schema \`pgboss\`. Server settings are the defaults but for
  \`max_wal_size\` and \`checkpoint_timeout\`, raised so that no checkpoint falls into one bus's turn.
- The buses take turns, A B C A B C. Before each turn the bus is emptied, a checkpoint is made, the messages are stored through its own function
  for many at once, and \`vacuum analyze\` gives every planner fresh statistics. Autovacuum is on. Every message carries the same payload of 80 bytes.
- **Symphony**: \`messenger_dispatch\`, \`messenger_dispatch_batch\` and \`messenger_exchange\` as service_role, row level security and fences on, the
  arguments those of the shipped transport. "Deleted" is a transport with \`retention\` 0, "kept" the default. 64 senders and the latencies go
  through the shipped client, consume loop and doors over HTTP; the gateway runs in the process of the load.
- **graphile-worker**: jobs by its SQL functions \`add_job\` and \`add_jobs\` with prepared statements, which is faster than its \`addJob\`. Handled by
  its own \`run\`: a pool a consumer; where a batch is above 1, \`localQueue.size\` is the batch, \`concurrency\` is the batch up to 24, and
  \`completeJobBatchDelay\` is 0, as in its own published benchmark. It deletes what is completed. Its time ends when its pools have stopped, which
  takes them about 0.03 s. Latency: no local queue, concurrency 10.
- **pg-boss**: \`send\`, \`insert\`, \`fetch\`, \`complete\` on its own pool; jobs are completed by id and attempt, the fence its own worker uses.
  \`supervise\` and \`schedule\` are off, as Symphony's clock is. It keeps what is completed and cannot delete it at once.
- Not measured: the hosted platform's network, PostgREST, connection pooler and disks; payloads of other sizes; many queues.

## To repeat it

\`\`\`sh
npm run bench                      # every row, about 20 minutes on a quiet machine
npm run bench -- --only claim      # one row
npm run bench -- --write           # every row, then writes this page and its picture
\`\`\`
`;
}

function summaryOf(results: readonly DeliveryResult[]): string {
  const count = (grade: DeliveryResult["grade"]) => results.filter((result) => result.grade === grade).length;
  const missed = count("missed");
  const met = results.length - missed;
  return `The hot path against graphile-worker and pg-boss, in one database. Of ${results.length} targets ${met} are met, ${
    count("aim")
  } of them as far as was aimed for; ${
    missed === 0 ? "none is missed" : `**${missed} ${missed === 1 ? "is" : "are"} missed**`
  }.`;
}

function figuresOf(lines: readonly Line[]): string {
  const buses = busesOf(lines);
  return markdownTable(
    ["", "unit", ...buses.map(nameOf), "times the best peer"],
    lines.map((line) => [
      line.label,
      line.unit,
      ...buses.map((bus) => figure(medianOf(line, bus), line.unit)),
      ratioText(line),
    ]),
  );
}

/** Each note once, with the lines it is about. */
function notesOf(lines: readonly Line[]): string {
  const notes = new Map<string, string[]>();
  for (const { note, label } of lines) if (note) notes.set(note, [...notes.get(note) ?? [], label]);
  return [...notes].map(([note, labels]) => `- ${labels.length > 2 ? kindOf(labels) : labels.join("; ")}: ${note}`)
    .join("\n");
}

/** What several labels have in common: "claim+settle, deleted". */
function kindOf(labels: string[]): string {
  const [first, ...rest] = labels.map((label) => label.split(", "));
  return first.filter((part) => rest.every((parts) => parts.includes(part))).join(", ");
}

function targetsOf(judged: { line: Line; result: DeliveryResult }[]): string {
  const words = { aim: "met, as aimed for", met: "met", missed: "**missed**" };
  return markdownTable(
    ["", "must be", "aim", "reached", ""],
    judged.map(({ line, result }) => [
      line.label,
      mustText(line),
      mustText(line, "aim"),
      reachedText(line, result.reached),
      words[result.grade],
    ]),
  );
}

function costsOf(lines: readonly Line[]): string {
  const buses = busesOf(lines);
  const cost = (line: Line, bus: string) => {
    const cpu = medianOf(line, bus, "cpu");
    return cpu === undefined ? "-" : `${figure(cpu, "us")} us, ${figure(medianOf(line, bus, "wal"), "bytes")} B`;
  };
  return markdownTable(
    ["", ...buses.map(nameOf)],
    lines.filter((line) => buses.some((bus) => medianOf(line, bus, "cpu") !== undefined)).map((line) => [
      line.label,
      ...buses.map((bus) => cost(line, bus)),
    ]),
  );
}

function markdownTable(head: string[], rows: string[][]): string {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
