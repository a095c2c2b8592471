// Workers that asked within the last hour.
import type { Worker } from "./api.ts";
import { count } from "./format.ts";
import { Time } from "./parts.tsx";

const AWAKE = 20; // those that asked last
const ASLEEP = 2; // of the others: their rows go an hour after they did

export function Workers({ workers }: { workers: Worker[] }) {
  const shown = [
    ...workers.filter(({ awake }) => awake).slice(0, AWAKE),
    ...workers.filter(({ awake }) => !awake).slice(0, ASLEEP),
  ];
  return (
    <section aria-labelledby="workers">
      <h2 id="workers">Workers</h2>
      {workers.length === 0
        ? <p class="faint">None requested within the last hour. They are woken when something is due.</p>
        : (
          <div class="scroll">
            <table>
              <thead>
                <tr>
                  <th>Worker</th>
                  <th>State</th>
                  <th class="number">Running</th>
                  <th>Asked</th>
                  <th>Since</th>
                  <th>Types</th>
                </tr>
              </thead>
              <tbody>
                {shown.map((worker) => (
                  <tr key={worker.worker}>
                    <td class="mono">{worker.worker}</td>
                    <td>
                      <span class={`state ${worker.awake ? "completed" : "asleep"}`}>
                        {worker.awake ? "awake" : "asleep"}
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
                    <td colSpan={6} class="faint">and {count(workers.length - shown.length)} more of the last hour</td>
                  </tr>
                )}
              </tbody>
            </table>
          </div>
        )}
    </section>
  );
}
