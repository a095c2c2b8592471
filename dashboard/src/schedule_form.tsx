// The form that creates or changes a schedule, with a preview of its next runs.
import { useEffect, useState } from "preact/hooks";
import type { Schedule, Schedules } from "../../shared/operators/schedules.ts";
import { callAdmin, getMonitor } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { payloadFault, timing } from "./format.ts";
import { ActionButton } from "./parts.tsx";
import { Runs } from "./runs.tsx";
import { type Draft, draftOf, previewOf, requestOf } from "./schedule_draft.ts";
import { toast } from "./toast.tsx";

const PAUSE = 400; // ms without input before the preview is requested

export function ScheduleForm({ of, close, saved }: { of?: Schedule; close: () => void; saved: () => void }) {
  const [draft, set] = useState(() => draftOf(of));
  const change = (part: Partial<Draft>) => set((before) => ({ ...before, ...part }));
  const field = (name: keyof Draft) => ({
    value: draft[name],
    onInput: (event: { currentTarget: { value: string } }) => change({ [name]: event.currentTarget.value }),
  });

  const requested = JSON.stringify(previewOf(draft, of));
  const [preview, show] = useState<string>();
  useEffect(() => {
    const timer = setTimeout(() => show(requested), PAUSE);
    return () => clearTimeout(timer);
  }, [requested]);

  const fault = payloadFault(draft.payload);
  // Saving replaces a schedule of the same name, so a new one that would do so needs a confirmation.
  const [existing, setExisting] = useState<Schedule>();
  const replaces = existing?.name === draft.name;
  const save = async () => {
    if (!of && !replaces) {
      const { schedules } = await getMonitor<Schedules>("schedules", { name: draft.name, limit: 1 });
      const same = schedules.find(({ name }) => name === draft.name);
      if (same) return setExisting(same);
    }
    await callAdmin("PUT", `schedules/${encodeURIComponent(draft.name)}`, requestOf(draft, of));
    toast(`${draft.name} is saved`);
    close();
    saved();
  };
  return (
    <Dialog title={of ? `Edit ${of.name}` : "New schedule"} close={close}>
      <div class="fields">
        <label>
          Name <input disabled={of !== undefined} {...field("name")} />
        </label>
        <label>
          Message type <input spellcheck={false} {...field("type")} />
        </label>
        <Choice
          label="Kind"
          value={draft.kind}
          options={[["cron", "cron"], ["interval", "interval"], ["at", "once"]]}
          choose={(kind) => change({ kind: kind as Draft["kind"] })} // the options are its values
        />
        {draft.kind === "cron" && (
          <label>
            Cron <input class="mono" spellcheck={false} {...field("cron")} />
          </label>
        )}
        {draft.kind === "interval" && (
          <label>
            Interval in seconds <input type="number" min="1" {...field("seconds")} />
          </label>
        )}
        {draft.kind === "at" && (
          <label>
            Time (ISO 8601) <input class="mono" spellcheck={false} {...field("at")} />
          </label>
        )}
        <label>
          Time zone <input spellcheck={false} {...field("timezone")} />
        </label>
        <label>
          Queue <input placeholder="default" spellcheck={false} {...field("queue")} />
        </label>
      </div>
      <label>
        Payload <textarea rows={4} spellcheck={false} aria-invalid={fault !== undefined} {...field("payload")} />
      </label>
      <p class="problem" role="status">{fault}</p>
      <details>
        <summary>Policies</summary>
        <div class="fields">
          {POLICIES.map(([name, label, options]) => (
            <Choice
              key={name}
              label={label}
              value={draft[name]}
              options={options}
              choose={(value) => change({ [name]: value })}
            />
          ))}
        </div>
      </details>
      <h3>Next runs</h3>
      {preview && <Runs query={JSON.parse(preview)} />}
      {replaces && (
        <p class="problem" role="alert">
          A schedule of this name exists: {existing.message_type},{" "}
          {timing(existing.schedule_config)}. Saving replaces it.
        </p>
      )}
      <div class="buttons">
        <ActionButton
          label={replaces ? `Replace ${existing.name}` : "Save"}
          kind="primary"
          action={save}
          disabled={!draft.name || !draft.type || fault !== undefined}
        />
        <button type="button" onClick={close}>Cancel</button>
      </div>
    </Dialog>
  );
}

const POLICIES: [name: "misfire" | "overlap" | "dstGap" | "dstOverlap", label: string, options: [string, string][]][] =
  [
    ["misfire", "Missed runs", [["fire_once", "dispatch the latest"], ["catch_up", "dispatch all"], [
      "skip",
      "dispatch none",
    ]]],
    ["overlap", "Previous message unfinished", [["allow", "dispatch another"], ["skip", "skip the run"], [
      "replace",
      "replace the message",
    ]]],
    ["dstGap", "Time skipped by DST", [["run_after", "run after the gap"], ["skip", "skip the run"]]],
    ["dstOverlap", "Time repeated by DST", [["first", "run the first time"], ["second", "run the second time"], [
      "both",
      "run both times",
    ]]],
  ];

function Choice({ label, value, options, choose }: {
  label: string;
  value: string;
  options: [value: string, label: string][];
  choose: (value: string) => void;
}) {
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => choose(event.currentTarget.value)}>
        {options.map(([each, text]) => <option key={each} value={each}>{text}</option>)}
      </select>
    </label>
  );
}
