// Workers that asked within the last hour.
import type { Worker } from "./api.ts";
import { count } from "./format.ts";
import { Time } from "./parts.tsx";

const SHOWN = 20; // those that asked last

export function Workers({ workers }: { workers: Worker[] }) {
  return (
    <section aria-labelledby="workers">
      <h2 id="workers">Workers</h2>
      {workers.length === 0
        ? <p class="faint">None asked within the last hour. They are woken when something is due.</p>
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
                {workers.slice(0, SHOWN).map((worker) => (
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
                {workers.length > SHOWN && (
                  <tr>
                    <td colSpan={6} class="faint">and {count(workers.length - SHOWN)} more</td>
                  </tr>
                )}
              </tbody>
            </table>
          </div>
        )}
    </section>
  );
}
