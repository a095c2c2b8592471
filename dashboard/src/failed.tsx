// Dead letters: one, some or all of a search are retried or discarded.
import { useState } from "preact/hooks";
import { act, type Letter, look, type Page } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { count } from "./format.ts";
import { useLive } from "./live.ts";
import { Do, Empty, Loaded, State, Time } from "./parts.tsx";
import { linkTo } from "./route.ts";
import { type Field, Search } from "./search.tsx";
import { toast } from "./toast.tsx";

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
const MOST = 10_000;

export function Failed({ query }: { query: Record<string, string> }) {
  const live = useLive(
    `failed ${JSON.stringify(query)}`,
    () => look<{ messages: Letter[]; pagination: Page }>("failed", { ...query, limit: 50 }),
  );
  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  return (
    <>
      <header class="heading">
        <h1>Dead letters</h1>
      </header>
      <Search view="failed" fields={FIELDS} query={query} />
      <Loaded live={live}>
        {({ messages, pagination }) => {
          const open = messages.filter(({ resolution }) => resolution === null);
          const picked = open.filter(({ id }) => chosen.has(id));
          return (
            <>
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
                      {messages.map((letter) => (
                        <tr key={letter.id}>
                          <td>
                            {letter.resolution === null
                              ? (
                                <input
                                  type="checkbox"
                                  aria-label={`Choose ${letter.message_type} of ${letter.failed_at}`}
                                  checked={chosen.has(letter.id)}
                                  onChange={() => choose(toggled(chosen, letter.id))}
                                />
                              )
                              : <State of={letter.resolution} />}
                          </td>
                          <td class="clip">
                            <a href={linkTo(["failed", letter.id])}>
                              <strong>{letter.error_class ?? "Error"}</strong> {letter.error}
                            </a>
                          </td>
                          <td data-label="Type">{letter.message_type}</td>
                          <td data-label="Queue">{letter.queue_name}</td>
                          <td data-label="Failed">
                            <Time at={letter.failed_at} />
                          </td>
                          <td class="number">{letter.retry_count}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              )}
              {pagination.hasMore && (
                <p class="more">
                  <a class="button" href={linkTo(["failed"], { ...query, cursor: pagination.nextCursor ?? undefined })}>
                    Older
                  </a>
                </p>
              )}
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

function Resolve({ picked, all, filter, done }: {
  picked: string[];
  all: number;
  filter: Record<string, string>;
  done: () => Promise<void>;
}) {
  const [asking, ask] = useState<"retry" | "discard">();
  const [perSecond, setPerSecond] = useState("");
  const which = picked.length > 0 ? { ids: picked } : { filter };
  const many = picked.length > 0 ? `${count(picked.length)} chosen` : `all ${count(all)}`;
  const retry = async () => {
    const { retried, results } = await act<{ retried: number; results: { outcome: string }[] }>(
      "POST",
      "failed/retry",
      { ...which, max: MOST, ...(perSecond && { perSecond: Number(perSecond) }) },
    );
    const others = [...new Set(results.map(({ outcome }) => outcome).filter((outcome) => outcome !== "retried"))];
    toast(
      `${count(retried)} retried${
        others.length ? `, ${count(results.length - retried)} not: ${others.join(", ").replaceAll("_", " ")}` : ""
      }`,
      others.length > 0,
    );
    ask(undefined);
    await done();
  };
  const discard = async () => {
    const { discarded } = await act<{ discarded: number }>("POST", "failed/discard", { ...which, max: MOST });
    toast(`${count(discarded)} discarded`);
    ask(undefined);
    await done();
  };
  return (
    <div class="row">
      <div class="buttons">
        <button type="button" class="primary" onClick={() => ask("retry")}>Retry {many}</button>
        <button type="button" class="danger" onClick={() => ask("discard")}>Discard {many}</button>
      </div>
      {asking === "retry" && (
        <Dialog title={`Retry ${many}?`} close={() => ask(undefined)}>
          <p>They go back into their queues with all their retries.</p>
          <label>
            At most a second
            <input
              type="number"
              min="1"
              max="1000"
              placeholder="as fast as workers are"
              value={perSecond}
              onInput={(event) => setPerSecond(event.currentTarget.value)}
            />
          </label>
          <p class="faint">With a rate, the retry stops when more than a fifth of them die again.</p>
          <div class="buttons">
            <Do label="Retry" kind="primary" act={retry} />
            <button type="button" onClick={() => ask(undefined)}>Keep them</button>
          </div>
        </Dialog>
      )}
      {asking === "discard" && (
        <Dialog title={`Discard ${many}?`} close={() => ask(undefined)}>
          <p>They are given up for good. What they held can be read for 30 days more.</p>
          <div class="buttons">
            <Do label="Discard" kind="danger" act={discard} />
            <button type="button" onClick={() => ask(undefined)}>Keep them</button>
          </div>
        </Dialog>
      )}
    </div>
  );
}
