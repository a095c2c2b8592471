// Banners of retries at a rate: their progress, and why one was stopped.
import type { Replay } from "../../shared/operators/health.ts";
import { count, plural } from "./format.ts";

const SHOWN_FOR = 10 * 60_000; // ms after its end

export function Replays({ replays }: { replays: Replay[] }) {
  const recent = replays.filter(({ finished_at }) => !finished_at || Date.now() - Date.parse(finished_at) < SHOWN_FOR);
  return (
    <>
      {recent.map((replay) => {
        const { id, total, completed, dead, lapsed, returned, remaining, stop_reason } = replay;
        return (
          <div key={id} class={stop_reason ? "banner" : "banner calm"} role="status">
            <p>
              <strong>{titleOf(replay)}</strong> {count(completed)} completed, {count(dead)} failed again,{" "}
              {lapsed > 0 && `${count(lapsed)} expired or cancelled, `}
              {returned > 0 && `${count(returned)} returned to the dead letters, `}
              {count(remaining)} remaining.
            </p>
            {remaining > 0 && <progress value={total - remaining} max={total} />}
          </div>
        );
      })}
    </>
  );
}

function titleOf({ total, per_second, stop_reason, finished_at }: Replay): string {
  const deadLetters = plural(total, "dead letter");
  if (stop_reason) return `The retry of ${deadLetters} was stopped: ${stop_reason}.`;
  return finished_at
    ? `The retry of ${deadLetters} has finished.`
    : `Retrying ${deadLetters}, ${count(per_second)} per second.`;
}
