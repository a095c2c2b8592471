// Dead letters: one, some or all of a search are retried or discarded.
import { useState } from "preact/hooks";
import { type Letter, look, type Page, type Status } from "./api.ts";
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
  { name: "resolved", label: "Which", options: [["", "open"], ["true", "resolved"]] },
  { name: "transport", label: "Transport", rare: true },
  { name: "from", label: "Failed from", moment: true, rare: true },
  { name: "to", label: "Failed before", moment: true, rare: true },
];
const FILTERS = ["type", "queue", "transport", "errorClass", "from", "to"];

export function Failed({ query }: { query: Record<string, string> }) {
  const live = useLive(
    `failed ${JSON.stringify(query)}`,
    async () => {
      const [page, { replays }] = await Promise.all([
        look<{ messages: Letter[]; pagination: Page }>("failed", { ...query, limit: 50 }),
        look<Status>("status"),
      ]);
      return { ...page, replays };
    },
  );
  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  return (
    <>
      <header class="heading">
        <h1>Dead deadLetters</h1>
      </header>
      <Search view="failed" fields={FIELDS} query={query} />
      <Loaded live={live}>
        {({ messages, pagination, replays }) => {
          const open = messages.filter(({ resolution }) => resolution === null);
          const picked = open.filter(({ id }) => chosen.has(id));
          return (
            <>
              <Replays replays={replays} />
              {messages.length === 0 && !pagination.hasMore
                ? (
                  <Empty title="No dead letters">
                    <p>
                      Messages that are out of retries, or that their handler gave up, come here with every attempt.
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
                  picked={picked.map(({ id }) => id)}
                  all={pagination.total}
                  estimated={pagination.estimated}
                  filter={Object.fromEntries(Object.entries(query).filter(([name]) => FILTERS.includes(name)))}
                  done={async () => {
                    choose(new Set());
                    await live.again();
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
                            aria-label="All of this page"
                            checked={open.length > 0 && picked.length === open.length}
                            onChange={(event) =>
                              choose(new Set(event.currentTarget.checked ? open.map(({ id }) => id) : []))}
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
                                  aria-label={`Choose ${deadLetter.message_type} of ${deadLetter.failed_at}`}
                                  checked={chosen.has(deadLetter.id)}
                                  onChange={() => choose(toggled(chosen, deadLetter.id))}
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

function toggled(chosen: ReadonlySet<string>, id: string): ReadonlySet<string> {
  const next = new Set(chosen);
  if (!next.delete(id)) next.add(id);
  return next;
}
