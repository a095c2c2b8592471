// Writes docs/performance.md from the results of a run.
import { expectationsOf } from "./expectations.ts";
import { type Grid, rateGrid, spreadGrid, targetGrid, timeGrid } from "./grids.ts";
import { judge, type Line, peersAhead, type TargetResult } from "./line.ts";
import type { Results } from "./results.ts";
import type { Machine } from "./machine.ts";
import type { Scale } from "./scale.ts";
import { GRAPHILE_WORKER, GRAPHILE_WORKER_SQL, PG_BOSS, PGMQ_WAL } from "./targets.ts";

const UNEXPLAINED = "The reason has not been examined.";

export function documentOf({ lines, machine, date, quick, minutes }: Results, scale?: Scale): string {
  return `# Performance

<!-- Written by \`npm run bench -- --write\`; changes by hand are lost. -->
${quick ? "\n**This is a smoke run. It shows that every row runs; its figures mean nothing.**\n" : ""}
This page has the times and rates to expect from Symphony on a small server, and compares them with two other queues on
Postgres, graphile-worker and pg-boss, on the same machine and in the same database.

Measured on ${date.slice(0, 10)} in ${minutes.toFixed(0)} minutes: ${nameOf(machine)}; fsync on.
**The load, the API gateway and the Postgres server share these ${machine.cores} cores.**

## Expected times and rates

${tableOf({ head: ["What you do", "What it takes"], rows: expectationsOf(lines) })}

Times are medians except where the table names another share. They contain no network: the load runs beside the server.
[Figures](#figures) has every row with its conditions.

## Comparison with graphile-worker and pg-boss

${summaryOf(lines.flatMap(judge))}

![How many times better than its peer Symphony is, per row](performance.svg)

The chart and the column "times the peer" compare each row with one peer: with the peer of the row's target, or with the
best peer if the row has no such target. Above 1 Symphony is better.

${peersOf()}

### Where a peer is ahead

The figures are multiples of the peer's rate, or of its speed where the row is a time: 0.5x is half as fast.

${behindOf(lines)}

## Figures

"10 x 4" means that each claim is for 10 messages and that 4 consumers claim at a time. "Deleted" means that messages
are deleted on completion (transport option \`retention: "0"\`), "kept" means that they stay for the default retention.

A figure is the median of the rounds. A ratio is the median of the ratios within each round, so a slow moment of the
machine affects both sides of it. The CPU is that of all server processes and the WAL is what the server wrote, both per
message: they hardly depend on the load of the machine, so compare them first.

### Rates

${tableOf(rateGrid(lines))}

### Times and quotients

${tableOf(timeGrid(lines))}

### Notes

${notesOf(lines)}

<details>
<summary>Spread of the rounds</summary>

${tableOf(spreadGrid(lines))}

</details>

## Targets

A target is met if the figure reaches the column "must be". The aim is what the design can reach. Where the third column
names a peer, the figure is divided by the figure of that peer in the same round.

${tableOf(targetGrid(lines, { aim: "aim reached", met: "met", missed: "**missed**" }))}

The bound of the WAL comes from pgmq, which wrote ${PGMQ_WAL} B per message at 100 x 4. That figure was measured
elsewhere, on PostgreSQL 15 with 2 cores: pgmq is not on npm, so this benchmark cannot install it and has no column for
it.
${scale ? `\n${scaleOf(scale)}\n` : ""}
## Method

- **One server, three installations**: \`messenger_*\`, schema \`graphile_worker\` and schema \`pgboss\`. The server
  has its default settings except \`max_wal_size\` and \`checkpoint_timeout\`, which are raised so that no checkpoint
  occurs during a measurement.
- **In turn**: the rounds of the columns alternate, A B C A B C. Before each turn the bus is emptied, a checkpoint is
  made, the messages are stored with the bus's own batch function, and \`vacuum analyze\` updates the statistics of the
  planner. Autovacuum is on. Every message has the same payload of 80 bytes.
- **Not measured**: the network, PostgREST, the connection pooler and the disks of the hosted platform, and other
  payload sizes. The API gateway of these rows is the one of the local project, in the process of the load.

## Repeat it

\`\`\`sh
npm run bench                      # every row, at most 25 minutes on a quiet machine
npm run bench -- --quick           # every row with small sizes in about a minute, to see that it runs
npm run bench -- --only claim      # one row
npm run bench -- --postgres 17     # on PostgreSQL 17 from npm instead of the one that is installed
npm run bench -- --write           # every row; then writes this page and its chart
\`\`\`
`;
}

function summaryOf(results: readonly TargetResult[]): string {
  const count = (grade: TargetResult["grade"]) => results.filter((result) => result.grade === grade).length;
  const missed = count("missed");
  const met = results.length - missed;
  return `Targets met: ${met} of ${results.length} (aim reached: ${count("aim")}); missed: ${
    missed === 0 ? "none" : `**${missed}**`
  }. [Targets](#targets) lists them.`;
}

function peersOf(): string {
  const rows = [
    [
      GRAPHILE_WORKER,
      "as its users run it: `addJob` and `addJobs` of its client, and its own `run` with one pool per consumer. " +
      "Above a batch of 1, `localQueue.size` is the batch, `concurrency` is the batch up to 24, and " +
      "`completeJobBatchDelay` is 0, as in its published benchmark. Its time ends when its pools have stopped, " +
      "which takes about 0.03 s. The backlog of its rows is stored with its SQL function `add_jobs`.",
    ],
    [
      GRAPHILE_WORKER_SQL,
      "its SQL without its runner: the functions `add_job` and `add_jobs`, and the two statements with which its " +
      "runner gets and completes jobs, as prepared statements. Nobody runs it like this; the column shows what " +
      "its SQL costs the server.",
    ],
    [
      PG_BOSS,
      "its own client and pool: `send`, `insert`, `fetch` and `complete`, with completion by id and attempt as in " +
      "its own worker. `supervise` and `schedule` are off, and so is Symphony's ticker.",
    ],
    [
      "Symphony",
      "`messenger_dispatch`, `messenger_dispatch_batch` and `messenger_exchange` as service_role with the " +
      "arguments of the shipped transport, with row level security and fencing tokens. Rows that name HTTP use " +
      "the shipped client, consume loop and edge functions.",
    ],
  ];
  return tableOf({ head: ["Column", "Client"], rows });
}

/** Each reason once, with the lines in which a peer is ahead of every form of Symphony. */
function behindOf(lines: readonly Line[]): string {
  const byReason = new Map<string, string[]>();
  for (const line of lines) {
    const ahead = peersAhead(line).map(({ peer, times }) => `${times.toFixed(2)}x ${peer}`);
    if (ahead.length === 0) continue;
    const reason = line.reason ?? UNEXPLAINED;
    byReason.set(reason, [...byReason.get(reason) ?? [], `  - ${line.label}: ${ahead.join(", ")}`]);
  }
  if (byReason.size === 0) return "No peer is ahead in any row.";
  return [...byReason].map(([reason, rows]) => [`- ${reason}`, ...rows].join("\n")).join("\n");
}

/** Each note once, with the labels of its lines. */
function notesOf(lines: readonly Line[]): string {
  const notes = new Map<string, string[]>();
  for (const { note, label } of lines) if (note) notes.set(note, [...notes.get(note) ?? [], label]);
  return [...notes].map(([note, labels]) => `- **${commonPart(labels)}**: ${note}`).join("\n");
}

/** The common beginning of several labels, up to a comma or a colon: "claim and settle, deleted". */
function commonPart(labels: string[]): string {
  const [first, ...rest] = labels.map((label) => label.split(/(?<=[,:]) /));
  const different = first.findIndex((part, index) => rest.some((parts) => parts[index] !== part));
  const common = different < 0 ? first : first.slice(0, different);
  return common.length > 0 ? common.join(" ").replace(/[,:]$/, "") : labels.join("; ");
}

function scaleOf({ lines, machine, date }: Scale): string {
  return `## At scale

A long run with many queues, types and rows, on ${date.slice(0, 10)}: ${nameOf(machine)}.

${
    tableOf({
      head: ["", "", ""],
      rows: lines.map(({ label, unit, value, note = "" }) => [
        label,
        `${value.toLocaleString("en-US")} ${unit}`,
        note,
      ]),
    })
  }`;
}

function nameOf({ processor, cores, memory, system, versions }: Machine): string {
  return `${processor}, ${cores} cores,
${memory}, ${system}; ${versions.join(", ")}`;
}

function tableOf({ head, rows }: Grid): string {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
