// The most frequent errors of the period.
import type { Metrics } from "../../shared/operators/metrics.ts";
import { count } from "./format.ts";
import { Time } from "./parts.tsx";
import { linkTo } from "./route.ts";

export function Errors({ errors }: { errors: Metrics["errors"] }) {
  return (
    <section aria-labelledby="errors">
      <h2 id="errors">Top errors</h2>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th>Error</th>
              <th>Type</th>
              <th class="number">Count</th>
              <th>Latest</th>
            </tr>
          </thead>
          <tbody>
            {errors.map((error) => (
              <tr key={error.messageType + error.errorClass}>
                <td>
                  <strong>{error.errorClass}</strong> <span class="clip">{error.error}</span>
                </td>
                <td>
                  <a href={linkTo(["failed"], { type: error.messageType, errorClass: error.errorClass })}>
                    {error.messageType}
                  </a>
                </td>
                <td class="number">{count(error.count)}</td>
                <td>
                  <Time at={error.lastAt} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
