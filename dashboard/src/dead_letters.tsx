// The list of dead letters: searched, selected, retried and discarded.
import { useState } from "preact/hooks";
import type { DeadLetters } from "../../shared/operators/dead_letters.ts";
import type { Status } from "../../shared/operators/health.ts";
import type { Transports } from "../../shared/operators/transports.ts";
import { getMonitor } from "./api.ts";
import { count } from "./format.ts";
import { useLive } from "./live.ts";
import { Empty, Loaded, Older, State, Time } from "./parts.tsx";
import { Replays } from "./replays.tsx";
import { Resolve } from "./resolve.tsx";
import { linkTo } from "./route.ts";
import { type Field, Search } from "./search.tsx";

const FIELDS: Field[] = [
  { name: "type", label: "Type" },
  { name: "queue", label: "Queue" },
  { name: "errorClass", label: "Error class" },
  { name: "resolved", label: "State", options: [["", "open"], ["true", "resolved"]] },
  { name: "transport", label: "Transport", rare: true },
  { name: "from", label: "Failed from", moment: true, rare: true },
  { name: "to", label: "Failed before", moment: true, rare: true },
];
const FILTERS = ["type", "queue", "transport", "errorClass", "from", "to"];

export function Failed({ query }: { query: Record<string, string> }) {
  const live = useLive(
    `failed ${JSON.stringify(query)}`,
    async () => {
      const [page, { replays }, { transports }] = await Promise.all([
        getMonitor<DeadLetters>("failed", { ...query, limit: 50 }),
        getMonitor<Status>("status"),
        getMonitor<Transports>("transports"),
      ]);
      return { ...page, replays, transports };
    },
  );
  const [selected, select] = useState<ReadonlySet<string>>(new Set());
  return (
    <>
      <header class="heading">
        <h1>Dead letters</h1>
      </header>
      <Search view="failed" fields={FIELDS} query={query} />
      <Loaded live={live}>
        {({ messages, pagination, replays, transports }) => {
          const open = messages.filter(({ resolution }) => resolution === null);
          const picked = open.filter(({ id }) => selected.has(id));
          return (
            <>
              <Replays replays={replays} />
              {messages.length === 0 && !pagination.hasMore
                ? (
                  <Empty title="No dead letters">
                    <p>
                      Messages that ran out of retries, or whose handler failed them for good, are listed here with
                      every attempt.
                    </p>
                  </Empty>
                )
                : (
                  <p class="faint" role="status">
                    {count(pagination.total, pagination.estimated)} {query.resolved === "true" ? "resolved" : "open"}
                  </p>
                )}
              {open.length > 0 && (
                <Resolve
                  picked={picked}
                  all={pagination.total}
                  estimated={pagination.estimated}
                  transports={transports}
                  filter={Object.fromEntries(Object.entries(query).filter(([name]) => FILTERS.includes(name)))}
                  done={async () => {
                    select(new Set());
                    await live.refresh();
                  }}
                />
              )}
              {messages.length > 0 && (
                <div class="scroll">
                  <table class="cards">
                    <thead>
                      <tr>
                        <th>
                          <input
                            type="checkbox"
                            aria-label="Select all on this page"
                            checked={open.length > 0 && picked.length === open.length}
                            onChange={(event) =>
                              select(new Set(event.currentTarget.checked ? open.map(({ id }) => id) : []))}
                          />
                        </th>
                        <th>Error</th>
                        <th>Type</th>
                        <th>Queue</th>
                        <th>Failed</th>
                        <th class="number">Deliveries</th>
                      </tr>
                    </thead>
                    <tbody>
                      {messages.map((deadLetter) => (
                        <tr key={deadLetter.id}>
                          <td>
                            {deadLetter.resolution === null
                              ? (
                                <input
                                  type="checkbox"
                                  aria-label={`Select ${deadLetter.message_type}, failed at ${deadLetter.failed_at}`}
                                  checked={selected.has(deadLetter.id)}
                                  onChange={() => select(toggled(selected, deadLetter.id))}
                                />
                              )
                              : <State of={deadLetter.resolution} />}
                          </td>
                          <td class="clip">
                            <a href={linkTo(["failed", deadLetter.id])}>
                              <strong>{deadLetter.error_class ?? "Error"}</strong> {deadLetter.error}
                            </a>
                          </td>
                          <td data-label="Type">{deadLetter.message_type}</td>
                          <td data-label="Queue">{deadLetter.queue_name}</td>
                          <td data-label="Failed">
                            <Time at={deadLetter.failed_at} />
                          </td>
                          <td class="number">{deadLetter.retry_count}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              )}
              <Older view="failed" query={query} page={pagination} />
            </>
          );
        }}
      </Loaded>
    </>
  );
}

function toggled(selected: ReadonlySet<string>, id: string): ReadonlySet<string> {
  const next = new Set(selected);
  if (!next.delete(id)) next.add(id);
  return next;
}
