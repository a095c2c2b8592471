// Retries or discards the selected dead letters, or all dead letters of a search.
import { useRef, useState } from "preact/hooks";
import type { DeadLetterSummary, Discarded, RetriedMany } from "../../shared/operators/dead_letters.ts";
import type { Status } from "../../shared/operators/health.ts";
import type { Transport } from "../../shared/operators/transports.ts";
import { callAdmin, getMonitor } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { count } from "./format.ts";
import { ActionButton } from "./parts.tsx";
import { failedRetention } from "./retention.ts";
import { toast } from "./toast.tsx";

const CHUNK = 1_000; // dead letters per call, which keeps locks short and shows the progress
const MOST = 10_000; // dead letters per retry at a rate

export function Resolve({ picked, all, estimated, filter, transports, done }: {
  picked: DeadLetterSummary[];
  all: number;
  estimated: boolean;
  filter: Record<string, string>;
  transports: Transport[];
  done: () => Promise<void>;
}) {
  const [dialog, setDialog] = useState<"retry" | "discard">();
  const [perSecond, setPerSecond] = useState("");
  const [resolved, setResolved] = useState<number>();
  const stopped = useRef(false);
  const most = picked.length > 0 ? picked.length : all;
  const many = picked.length > 0 ? `${count(picked.length)} selected` : `all ${count(all, estimated)}`;

  const selection = async () => {
    if (picked.length > 0) return { ids: picked.map(({ id }) => id) };
    // Messages that fail again in the meantime are left out, or this might never end. The database's time is used,
    // because this machine's clock may be wrong.
    const { timestamp } = await getMonitor<Status>("status");
    return { filter: { ...filter, to: Date.parse(filter.to) < Date.parse(timestamp) ? filter.to : timestamp } };
  };
  const inChunks = async (resolve: (selection: object) => Promise<{ found: number; resolved: number }>) => {
    const selected = await selection();
    stopped.current = false;
    let sum = 0;
    try {
      for (let more = true; more && !stopped.current;) {
        const chunk = await resolve(selected);
        sum += chunk.resolved;
        setResolved(sum);
        more = picked.length === 0 && chunk.found >= CHUNK && chunk.resolved > 0;
      }
    } finally {
      setResolved(undefined);
      await done();
    }
    setDialog(undefined);
    return sum;
  };
  const retry = async () => {
    const failures = new Map<string, string>();
    const retried = await inChunks(async (selection) => {
      const limits = perSecond ? { perSecond: Number(perSecond), max: MOST } : { max: CHUNK };
      const { retried, results } = await callAdmin<RetriedMany>("POST", "failed/retry", { ...selection, ...limits });
      for (const { id, outcome } of results) if (outcome !== "retried") failures.set(id, outcome);
      // A retry at a rate is one call: the rate of a second call would be added to that of the first.
      return { found: perSecond ? 0 : results.length, resolved: retried };
    });
    const reasons = [...new Set(failures.values())].join(", ").replaceAll("_", " ");
    const news = perSecond ? `Retrying ${count(retried)}, ${perSecond} per second` : `${count(retried)} retried`;
    toast(`${news}${reasons && `, ${count(failures.size)} not retried: ${reasons}`}`, failures.size > 0);
  };
  const discard = async () => {
    const discarded = await inChunks(async (selection) => {
      const { discarded } = await callAdmin<Discarded>("POST", "failed/discard", { ...selection, max: CHUNK });
      return { found: discarded, resolved: discarded };
    });
    toast(`${count(discarded)} discarded`);
  };
  const close = () => {
    stopped.current = true;
    setDialog(undefined);
  };
  const progress = resolved !== undefined && most > CHUNK && (
    <p role="status">
      <progress value={resolved} max={most} /> {count(resolved)} of {count(most, estimated)}
    </p>
  );
  const names = picked.length > 0
    ? picked.map(({ transport_name }) => transport_name)
    : filter.transport
    ? [filter.transport]
    : undefined;
  return (
    <div class="row">
      <div class="buttons">
        <button type="button" class="primary" onClick={() => setDialog("retry")}>Retry {many}</button>
        <button type="button" class="danger" onClick={() => setDialog("discard")}>Discard {many}</button>
      </div>
      {dialog === "retry" && (
        <Dialog title={`Retry ${many}?`} close={close}>
          <p>The messages return to their queues with all their retries.</p>
          <label>
            Messages per second
            <input
              type="number"
              min="1"
              max="1000"
              placeholder="no limit"
              value={perSecond}
              onInput={(event) => setPerSecond(event.currentTarget.value)}
            />
          </label>
          <p class="faint">
            With a limit, the retry stops if more than a fifth of the finished messages fail again
            {most > MOST && `, and includes only the oldest ${count(MOST)}`}.
          </p>
          {progress}
          <div class="buttons">
            <ActionButton label="Retry" kind="primary" action={retry} />
            <button type="button" onClick={close}>{resolved === undefined ? "Keep" : "Stop"}</button>
          </div>
        </Dialog>
      )}
      {dialog === "discard" && (
        <Dialog title={`Discard ${many}?`} close={close}>
          <p>
            The messages are not retried. The dead letters can be read for another {failedRetention(transports, names)}.
          </p>
          {progress}
          <div class="buttons">
            <ActionButton label="Discard" kind="danger" action={discard} />
            <button type="button" onClick={close}>{resolved === undefined ? "Keep" : "Stop"}</button>
          </div>
        </Dialog>
      )}
    </div>
  );
}
