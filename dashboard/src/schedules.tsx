// Schedules: when each runs next, and whether it may.
import { useState } from "preact/hooks";
import { act, look, type Page, type Schedule } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { count, rhythm } from "./format.ts";
import { useLive } from "./live.ts";
import { Do, Empty, Loaded, State, Time } from "./parts.tsx";
import { linkTo } from "./route.ts";
import { Runs } from "./runs.tsx";
import { ScheduleForm } from "./schedule_form.tsx";
import { type Field, Search } from "./search.tsx";
import { toast } from "./toast.tsx";

const FIELDS: Field[] = [
  { name: "name", label: "Name begins with", part: true },
  { name: "type", label: "Type" },
  { name: "enabled", label: "Runs", options: [["", "any"], ["true", "yes"], ["false", "no"]] },
];

export function Schedules({ query }: { query: Record<string, string> }) {
  const live = useLive(
    `schedules ${JSON.stringify(query)}`,
    () => look<{ schedules: Schedule[]; pagination: Page }>("schedules", { ...query, limit: 50 }),
  );
  const [editing, edit] = useState<Schedule | "new">();
  const [removing, remove] = useState<Schedule>();
  const [shown, show] = useState<string>();
  const pathOf = ({ name }: Schedule) => `schedules/${encodeURIComponent(name)}`;
  const toggle = async (schedule: Schedule) => {
    await act("POST", `${pathOf(schedule)}/${schedule.enabled ? "pause" : "resume"}`);
    toast(schedule.enabled ? `${schedule.name} is paused` : `${schedule.name} runs again`);
    await live.again();
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
                  <p>A schedule dispatches a message again and again: make one with the button above.</p>
                </Empty>
              )
              : (
                <p class="faint" role="status">
                  {count(pagination.total, pagination.estimated)} {pagination.total === 1 ? "schedule" : "schedules"}
                </p>
              )}
            {schedules.length > 0 && (
              <div class="scroll">
                <table class="cards">
                  <thead>
                    <tr>
                      <th>Name</th>
                      <th>Type</th>
                      <th>When</th>
                      <th>Zone</th>
                      <th>Next run</th>
                      <th>Last</th>
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
                        <td class="mono" data-label="When">{rhythm(schedule.schedule_config)}</td>
                        <td data-label="Zone">{schedule.timezone}</td>
                        <td data-label="Next run">
                          <Time at={schedule.enabled ? schedule.next_run_at : null} />{" "}
                          <button type="button" class="quiet" onClick={() => show(schedule.name)}>Next five</button>
                        </td>
                        <td>
                          {schedule.last_message_id
                            ? (
                              <a href={linkTo(["messages", schedule.last_message_id])}>
                                <Time at={schedule.last_run_at} /> <State of={schedule.last_message_status ?? "gone"} />
                              </a>
                            )
                            : <Time at={schedule.last_run_at} />}
                        </td>
                        <td class="number">{count(schedule.run_count)}</td>
                        <td class="actions">
                          <Do
                            label={schedule.enabled ? "Pause" : "Resume"}
                            act={() => toggle(schedule)}
                            title={`${schedule.enabled ? "Pause" : "Resume"} ${schedule.name}`}
                          />
                          <button type="button" onClick={() => edit(schedule)} aria-label={`Edit ${schedule.name}`}>
                            Edit
                          </button>
                          <button
                            type="button"
                            class="danger"
                            onClick={() => remove(schedule)}
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
          saved={live.again}
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
      {removing && (
        <Dialog title={`Delete ${removing.name}?`} close={() => remove(undefined)}>
          <p>It runs no more. The messages it has dispatched stay.</p>
          <div class="buttons">
            <Do
              label="Delete"
              kind="danger"
              act={async () => {
                await act("DELETE", pathOf(removing));
                toast(`${removing.name} is gone`);
                remove(undefined);
                await live.again();
              }}
            />
            <button type="button" onClick={() => remove(undefined)}>Keep it</button>
          </div>
        </Dialog>
      )}
    </>
  );
}
