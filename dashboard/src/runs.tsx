// When a schedule runs next.
import { look, type Run } from "./api.ts";
import { absolute } from "./format.ts";
import { useLive } from "./live.ts";
import { Loaded } from "./parts.tsx";

/** The next five runs, in the schedule's zone and in the reader's own. */
export function Runs({ query }: { query: Record<string, string> }) {
  const live = useLive(
    `runs ${JSON.stringify(query)}`,
    () => look<{ runs: Run[] }>("schedules/preview", { ...query, count: 5 }),
  );
  return (
    <Loaded live={live}>
      {({ runs }) =>
        runs.length === 0 ? <p class="faint">It does not run again.</p> : (
          <div class="scroll">
            <table>
              <thead>
                <tr>
                  <th>In its zone</th>
                  <th>Your time</th>
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
