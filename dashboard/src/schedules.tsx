// The list of schedules with their next runs; they are created, edited, paused and deleted here.
import { useState } from "preact/hooks";
import type { Schedule, Schedules as SchedulePage } from "../../shared/operators/schedules.ts";
import { callAdmin, getMonitor } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { count, plural, timing } from "./format.ts";
import { useLive } from "./live.ts";
import { ActionButton, Empty, Loaded, State, Time } from "./parts.tsx";
import { linkTo } from "./route.ts";
import { Runs } from "./runs.tsx";
import { ScheduleForm } from "./schedule_form.tsx";
import { type Field, Search } from "./search.tsx";
import { toast } from "./toast.tsx";

const FIELDS: Field[] = [
  { name: "name", label: "Name begins with", part: true },
  { name: "type", label: "Type" },
  { name: "enabled", label: "State", options: [["", "any"], ["true", "enabled"], ["false", "paused"]] },
];

export function Schedules({ query }: { query: Record<string, string> }) {
  const live = useLive(
    `schedules ${JSON.stringify(query)}`,
    () => getMonitor<SchedulePage>("schedules", { ...query, limit: 50 }),
  );
  const [editing, edit] = useState<Schedule | "new">();
  const [deleting, setDeleting] = useState<Schedule>();
  const [shown, show] = useState<string>();
  const pathOf = ({ name }: Schedule) => `schedules/${encodeURIComponent(name)}`;
  const toggle = async (schedule: Schedule) => {
    await callAdmin("POST", `${pathOf(schedule)}/${schedule.enabled ? "pause" : "resume"}`);
    toast(schedule.enabled ? `${schedule.name} is paused` : `${schedule.name} is resumed`);
    await live.refresh();
  };
  return (
    <>
      <header class="heading">
        <h1>Schedules</h1>
        <button type="button" class="primary" onClick={() => edit("new")}>New schedule</button>
      </header>
      <Search view="schedules" fields={FIELDS} query={query} />
      <Loaded live={live}>
        {({ schedules, pagination }) => (
          <>
            {schedules.length === 0
              ? (
                <Empty title="No schedules">
                  <p>A schedule dispatches messages at set times. Create one with the button New schedule.</p>
                </Empty>
              )
              : (
                <p class="faint" role="status">
                  {plural(pagination.total, "schedule", pagination.estimated)}
                </p>
              )}
            {schedules.length > 0 && (
              <div class="scroll">
                <table class="cards">
                  <thead>
                    <tr>
                      <th>Name</th>
                      <th>Type</th>
                      <th>Timing</th>
                      <th>Time zone</th>
                      <th>Next run</th>
                      <th>Last run</th>
                      <th class="number">Runs</th>
                      <th>
                        <span class="hidden">Actions</span>
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    {schedules.map((schedule) => (
                      <tr key={schedule.name}>
                        <td>
                          <strong>{schedule.name}</strong>{" "}
                          {!schedule.enabled && <span class="state paused">paused</span>}
                          {schedule.last_error && <p class="problem">{schedule.last_error}</p>}
                        </td>
                        <td data-label="Type">{schedule.message_type}</td>
                        <td class="mono" data-label="Timing">{timing(schedule.schedule_config)}</td>
                        <td data-label="Time zone">{schedule.timezone}</td>
                        <td data-label="Next run">
                          <Time at={schedule.enabled ? schedule.next_run_at : null} />{" "}
                          <button type="button" class="quiet" onClick={() => show(schedule.name)}>Next runs</button>
                        </td>
                        <td>
                          {schedule.last_message_id
                            ? (
                              <a href={linkTo(["messages", schedule.last_message_id])}>
                                <Time at={schedule.last_run_at} />{" "}
                                <State of={schedule.last_message_status ?? "pruned"} />
                              </a>
                            )
                            : <Time at={schedule.last_run_at} />}
                        </td>
                        <td class="number">{count(schedule.run_count)}</td>
                        <td class="actions">
                          <ActionButton
                            label={schedule.enabled ? "Pause" : "Resume"}
                            action={() => toggle(schedule)}
                            title={`${schedule.enabled ? "Pause" : "Resume"} ${schedule.name}`}
                          />
                          <button type="button" onClick={() => edit(schedule)} aria-label={`Edit ${schedule.name}`}>
                            Edit
                          </button>
                          <button
                            type="button"
                            class="danger"
                            onClick={() => setDeleting(schedule)}
                            aria-label={`Delete ${schedule.name}`}
                          >
                            Delete
                          </button>
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )}
            {pagination.hasMore && (
              <p class="more">
                <a
                  class="button"
                  href={linkTo(["schedules"], { ...query, cursor: pagination.nextCursor ?? undefined })}
                >
                  More
                </a>
              </p>
            )}
          </>
        )}
      </Loaded>
      {editing && (
        <ScheduleForm
          of={editing === "new" ? undefined : editing}
          close={() => edit(undefined)}
          saved={live.refresh}
        />
      )}
      {shown && (
        <Dialog title={`Next runs of ${shown}`} close={() => show(undefined)}>
          <Runs query={{ name: shown }} />
          <div class="buttons">
            <button type="button" onClick={() => show(undefined)}>Close</button>
          </div>
        </Dialog>
      )}
      {deleting && (
        <Dialog title={`Delete ${deleting.name}?`} close={() => setDeleting(undefined)}>
          <p>The schedule ends. Messages that it has dispatched stay.</p>
          <div class="buttons">
            <ActionButton
              label="Delete"
              kind="danger"
              action={async () => {
                await callAdmin("DELETE", pathOf(deleting));
                toast(`${deleting.name} is deleted`);
                setDeleting(undefined);
                await live.refresh();
              }}
            />
            <button type="button" onClick={() => setDeleting(undefined)}>Keep</button>
          </div>
        </Dialog>
      )}
    </>
  );
}
