// Writes docs/performance.md from the results of a run.
import { judge, type Line, medianOf, type TargetResult } from "./line.ts";
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

![Ratio to the best peer per row](performance.svg)

Measured ${new Date().toISOString().slice(0, 10)} in ${minutes.toFixed(0)} minutes: ${
    machine.versions.join(", ")
  }; ${machine.processor},
${machine.cores} cores, ${machine.memory}, ${machine.system}; fsync on.
The load, the gateway and the server share these cores.

## Figures

The figures are medians of ${sizes.rounds} rounds (${sizes.heavyRounds} for rows that first store a million messages,
1 for the held snapshot). "Times the best peer" is the median of the ratios within each round, so a slow moment of the
machine affects both sides of a ratio. "10 x 4" is a batch of 10 messages and 4 consumers.

${figuresOf(lines)}

${notesOf(lines)}

## Targets

A target is met if the figure reaches the column "must be".

${targetsOf(judged)}

Targets against pgmq, PgQue and River are not part of this page, because they are not on npm.

## Server cost per message

The table shows the CPU time of all server processes in microseconds and the write-ahead log in bytes, per message.
These figures hardly depend on the load of the machine.

${costsOf(lines)}

## Method

- One PostgreSQL server has three installations: \`messenger_*\`, schema \`graphile_worker\` and schema \`pgboss\`.
  Server settings are the defaults except \`max_wal_size\` and \`checkpoint_timeout\`, which are raised so that no
  checkpoint occurs during a measurement.
- The buses are measured in turn, A B C A B C. Before each turn the bus is emptied, a checkpoint is made, the messages
  are stored with the bus's own batch function, and \`vacuum analyze\` updates the statistics of the planner. Autovacuum
  is on. Every message has the same payload of 80 bytes.
- **Symphony**: the bench calls \`messenger_dispatch\`, \`messenger_dispatch_batch\` and \`messenger_exchange\` as
  service_role with the arguments of the shipped transport, with row level security and fencing tokens. "Deleted" is a
  transport with \`retention\` 0, "kept" is the default. The rows of the 64 senders and of the latencies use the shipped
  client, consume loop and edge functions over HTTP; the gateway runs in the process of the load.
- **graphile-worker**: jobs are stored with its SQL functions \`add_job\` and \`add_jobs\` and prepared statements,
  which is faster than its \`addJob\`. Its own \`run\` handles them, with one pool per consumer. For batches above 1,
  \`localQueue.size\` is the batch, \`concurrency\` is the batch up to 24, and \`completeJobBatchDelay\` is 0, as in its
  published benchmark. It deletes completed jobs. Its time ends when its pools have stopped, which takes about 0.03 s.
  The latencies are measured without a local queue and with concurrency 10.
- **pg-boss**: the bench calls \`send\`, \`insert\`, \`fetch\` and \`complete\` on its own pool. Jobs are completed by
  id and attempt, as by its own worker. \`supervise\` and \`schedule\` are off, and so is Symphony's ticker. It keeps
  completed jobs and cannot delete them on completion.
- The bench does not measure the network, PostgREST, the connection pooler and the disks of the hosted platform, other
  payload sizes, or many queues.

## Run the bench

\`\`\`sh
npm run bench                      # every row, about 20 minutes on a quiet machine
npm run bench -- --only claim      # one row
npm run bench -- --write           # every row; then writes this page and its chart
\`\`\`
`;
}

function summaryOf(results: readonly TargetResult[]): string {
  const count = (grade: TargetResult["grade"]) => results.filter((result) => result.grade === grade).length;
  const missed = count("missed");
  const met = results.length - missed;
  return `This page compares the hot path with graphile-worker and pg-boss,
    in one database. Of ${results.length} targets, ${met} are met (${count("aim")} of them reach the aim)\nand ${
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

/** Each note once, with the labels of its lines. */
function notesOf(lines: readonly Line[]): string {
  const notes = new Map<string, string[]>();
  for (const { note, label } of lines) if (note) notes.set(note, [...notes.get(note) ?? [], label]);
  return [...notes].map(([note, labels]) => `- ${labels.length > 2 ? kindOf(labels) : labels.join("; ")}: ${note}`)
    .join("\n");
}

/** The common part of several labels: "claim+settle, deleted". */
function kindOf(labels: string[]): string {
  const [first, ...rest] = labels.map((label) => label.split(", "));
  return first.filter((part) => rest.every((parts) => parts.includes(part))).join(", ");
}

function targetsOf(judged: { line: Line; result: TargetResult }[]): string {
  const words = { aim: "aim reached", met: "met", missed: "**missed**" };
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
