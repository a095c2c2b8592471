// The table of workers that requested messages within the last hour.
import type { Worker } from "../../shared/operators/health.ts";
import { count } from "./format.ts";
import { Time } from "./parts.tsx";

const ACTIVE = 20; // the latest ones
const IDLE = 2; // idle ones stay listed for an hour

export function Workers({ workers }: { workers: Worker[] }) {
  const shown = [
    ...workers.filter(({ awake }) => awake).slice(0, ACTIVE),
    ...workers.filter(({ awake }) => !awake).slice(0, IDLE),
  ];
  return (
    <section aria-labelledby="workers">
      <h2 id="workers">Workers</h2>
      {workers.length === 0
        ? <p class="faint">No worker was active within the last hour. Workers are woken when a message is due.</p>
        : (
          <div class="scroll">
            <table>
              <thead>
                <tr>
                  <th>Worker</th>
                  <th>State</th>
                  <th class="number">Running</th>
                  <th>Last poll</th>
                  <th>Started</th>
                  <th>Types</th>
                </tr>
              </thead>
              <tbody>
                {shown.map((worker) => (
                  <tr key={worker.worker}>
                    <td class="mono">{worker.worker}</td>
                    <td>
                      <span class={`state ${worker.awake ? "completed" : "idle"}`}>
                        {worker.awake ? "active" : "idle"}
                      </span>
                    </td>
                    <td class="number">{worker.processing}</td>
                    <td>
                      <Time at={worker.polled_at} />
                    </td>
                    <td>
                      <Time at={worker.started_at} />
                    </td>
                    <td title={worker.types?.join(", ")}>{worker.types === null ? "all" : worker.types.length}</td>
                  </tr>
                ))}
                {workers.length > shown.length && (
                  <tr>
                    <td colSpan={6} class="faint">
                      and {count(workers.length - shown.length)} more within the last hour
                    </td>
                  </tr>
                )}
              </tbody>
            </table>
          </div>
        )}
    </section>
  );
}
