// Retries or discards the dead letters that are chosen, or all that a search finds.
import { useRef, useState } from "preact/hooks";
import { act, look } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { count } from "./format.ts";
import { Do } from "./parts.tsx";
import { toast } from "./toast.tsx";

const SLICE = 1_000; // dead letters a call: their locks are short, and the way is seen
const MOST = 10_000; // dead letters of one retry at a rate

interface Retried {
  retried: number;
  results: { id: string; outcome: string }[];
}
interface Discarded {
  discarded: number;
}

export function Resolve({ picked, all, estimated, filter, done }: {
  picked: string[];
  all: number;
  estimated: boolean;
  filter: Record<string, string>;
  done: () => Promise<void>;
}) {
  const [asking, ask] = useState<"retry" | "discard">();
  const [perSecond, setPerSecond] = useState("");
  const [resolved, setResolved] = useState<number>();
  const stopped = useRef(false);
  const most = picked.length > 0 ? picked.length : all;
  const many = picked.length > 0 ? `${count(picked.length)} chosen` : `all ${count(all, estimated)}`;

  const which = async () => {
    if (picked.length > 0) return { ids: picked };
    // What dies again meanwhile stays for the next time, or this would have no end. By the database's clock: this one may be wrong.
    const { timestamp } = await look<{ timestamp: string }>("status");
    return { filter: { ...filter, to: Date.parse(filter.to) < Date.parse(timestamp) ? filter.to : timestamp } };
  };
  const sliceBySlice = async (resolve: (which: object) => Promise<{ found: number; resolved: number }>) => {
    const requested = await which();
    stopped.current = false;
    let sum = 0;
    try {
      for (let more = true; more && !stopped.current;) {
        const slice = await resolve(requested);
        sum += slice.resolved;
        setResolved(sum);
        more = picked.length === 0 && slice.found >= SLICE && slice.resolved > 0;
      }
    } finally {
      setResolved(undefined);
      await done();
    }
    ask(undefined);
    return sum;
  };
  const retry = async () => {
    const rejected = new Map<string, string>();
    const retried = await sliceBySlice(async (which) => {
      const limits = perSecond ? { perSecond: Number(perSecond), max: MOST } : { max: SLICE };
      const { retried, results } = await act<Retried>("POST", "failed/retry", { ...which, ...limits });
      for (const { id, outcome } of results) if (outcome !== "retried") rejected.set(id, outcome);
      // Of a second call, the rate would begin again beside the first one's.
      return { found: perSecond ? 0 : results.length, resolved: retried };
    });
    const reasons = [...new Set(rejected.values())].join(", ").replaceAll("_", " ");
    const went = perSecond ? `${count(retried)} go back, ${perSecond} a second` : `${count(retried)} retried`;
    toast(`${went}${reasons && `, ${count(rejected.size)} not: ${reasons}`}`, rejected.size > 0);
  };
  const discard = async () => {
    const discarded = await sliceBySlice(async (which) => {
      const { discarded } = await act<Discarded>("POST", "failed/discard", { ...which, max: SLICE });
      return { found: discarded, resolved: discarded };
    });
    toast(`${count(discarded)} discarded`);
  };
  const close = () => {
    stopped.current = true;
    ask(undefined);
  };
  const way = resolved !== undefined && most > SLICE && (
    <p role="status">
      <progress value={resolved} max={most} /> {count(resolved)} of {count(most, estimated)}
    </p>
  );
  return (
    <div class="row">
      <div class="buttons">
        <button type="button" class="primary" onClick={() => ask("retry")}>Retry {many}</button>
        <button type="button" class="danger" onClick={() => ask("discard")}>Discard {many}</button>
      </div>
      {asking === "retry" && (
        <Dialog title={`Retry ${many}?`} close={close}>
          <p>They go back into their queues with all their retries.</p>
          <label>
            How many a second, at most
            <input
              type="number"
              min="1"
              max="1000"
              placeholder="as fast as workers are"
              value={perSecond}
              onInput={(event) => setPerSecond(event.currentTarget.value)}
            />
          </label>
          <p class="faint">
            With a rate, the retry stops when more than a fifth of them die again
            {most > MOST && `, and takes the oldest ${count(MOST)}`}.
          </p>
          {way}
          <div class="buttons">
            <Do label="Retry" kind="primary" act={retry} />
            <button type="button" onClick={close}>{resolved === undefined ? "Keep them" : "Stop"}</button>
          </div>
        </Dialog>
      )}
      {asking === "discard" && (
        <Dialog title={`Discard ${many}?`} close={close}>
          <p>They are given up for good. What they held can be read for 30 days more.</p>
          {way}
          <div class="buttons">
            <Do label="Discard" kind="danger" act={discard} />
            <button type="button" onClick={close}>{resolved === undefined ? "Keep them" : "Stop"}</button>
          </div>
        </Dialog>
      )}
    </div>
  );
}
