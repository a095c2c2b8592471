// The next runs of a schedule.
import type { Preview } from "../../shared/operators/schedules.ts";
import { getMonitor } from "./api.ts";
import { absolute } from "./format.ts";
import { useLive } from "./live.ts";
import { Loaded } from "./parts.tsx";

/** The next five runs, in the schedule's time zone and in the reader's. */
export function Runs({ query }: { query: Record<string, string> }) {
  const live = useLive(
    `runs ${JSON.stringify(query)}`,
    () => getMonitor<Preview>("schedules/preview", { ...query, count: 5 }),
  );
  return (
    <Loaded live={live}>
      {({ runs }) =>
        runs.length === 0 ? <p class="faint">There are no more runs.</p> : (
          <div class="scroll">
            <table>
              <thead>
                <tr>
                  <th>In its time zone</th>
                  <th>In your time zone</th>
                  <th>Note</th>
                </tr>
              </thead>
              <tbody>
                {runs.map((run) => (
                  <tr key={run.localTime + run.runAt}>
                    <td class="mono">{run.localTime.replace("T", " ")}</td>
                    <td>{run.runAt ? absolute(run.runAt) : "–"}</td>
                    <td>{run.note}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
    </Loaded>
  );
}
