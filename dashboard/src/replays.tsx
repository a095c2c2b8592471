// Retries at a rate: how far they are, and why one stopped.
import type { Replay } from "./api.ts";
import { count } from "./format.ts";

const SHOWN = 10 * 60_000; // ms after the end of one

export function Replays({ replays }: { replays: Replay[] }) {
  const recent = replays.filter(({ finished_at }) => !finished_at || Date.now() - Date.parse(finished_at) < SHOWN);
  return (
    <>
      {recent.map((replay) => {
        const { id, per_second, total, completed, dead, returned, remaining, stop_reason } = replay;
        return (
          <div key={id} class={stop_reason ? "banner" : "banner calm"} role="status">
            <p>
              <strong>
                {stop_reason
                  ? `A retry of ${count(total)} was stopped: ${stop_reason}.`
                  : `A retry of ${count(total)}, ${count(per_second)} a second.`}
              </strong>{" "}
              {count(completed)} completed, {count(dead)} died again,{" "}
              {returned > 0 && `${count(returned)} were put back, `}
              {count(remaining)} to come.
            </p>
            {remaining > 0 && <progress value={total - remaining} max={total} />}
          </div>
        );
      })}
    </>
  );
}
