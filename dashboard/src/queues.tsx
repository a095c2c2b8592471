// The table of queues with their figures, each with a button that pauses or resumes it.
import type { Queue } from "../../shared/operators/queues.ts";
import { switchQueue } from "./attention.tsx";
import { count } from "./format.ts";
import { ActionButton, Time } from "./parts.tsx";
import { linkTo } from "./route.ts";

export function Queues({ queues, refresh }: { queues: Queue[]; refresh: () => void }) {
  return (
    <section aria-labelledby="queues">
      <h2 id="queues">Queues</h2>
      {queues.length === 0 ? <p class="faint">All queues are empty.</p> : (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th>Queue</th>
                <th class="number">Due</th>
                <th class="number">Delayed</th>
                <th class="number">Blocked</th>
                <th class="number">Running</th>
                <th>Oldest due</th>
                <th class="number">Workers</th>
                <th>
                  <span class="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {queues.map((queue) => (
                <tr key={`${queue.transport_name}/${queue.queue_name}`}>
                  <td>
                    <a href={linkTo(["messages"], { queue: queue.queue_name, transport: queue.transport_name })}>
                      {queue.queue_name}
                    </a>{" "}
                    {queue.transport_name !== "supabase" && <span class="faint">{queue.transport_name}</span>}{" "}
                    {queue.paused_at && <span class="state paused">paused</span>}
                  </td>
                  <td class="number">{count(queue.due, queue.estimated)}</td>
                  <td class="number">{count(queue.delayed, queue.estimated)}</td>
                  <td class="number">{count(queue.blocked)}</td>
                  <td class="number">{count(queue.processing)}</td>
                  <td>
                    <Time at={queue.oldest_due_at} />
                  </td>
                  <td class="number">{queue.awake_workers}</td>
                  <td class="actions">
                    <ActionButton
                      label={queue.paused_at ? "Resume" : "Pause"}
                      action={() => switchQueue(queue, refresh)}
                      title={`${queue.paused_at ? "Resume" : "Pause"} ${queue.queue_name}`}
                    />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
