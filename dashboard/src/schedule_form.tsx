// A schedule is made or changed, with its next runs shown while it is written.
import { useEffect, useState } from "preact/hooks";
import { act, look, type Schedule } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { problemOf, rhythm } from "./format.ts";
import { Do } from "./parts.tsx";
import { Runs } from "./runs.tsx";
import { type Draft, draftOf, previewOf, requestOf } from "./schedule_draft.ts";
import { toast } from "./toast.tsx";

const WAIT = 400; // ms after the last key, before the preview is asked for

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
    const timer = setTimeout(() => show(requested), WAIT);
    return () => clearTimeout(timer);
  }, [requested]);

  const problem = problemOf(draft.payload);
  // Saving replaces what is stored under a name: somebody who makes a new one may not know of the old.
  const [taken, warn] = useState<Schedule>();
  const replaces = taken?.name === draft.name;
  const save = async () => {
    if (!of && !replaces) {
      const { schedules } = await look<{ schedules: Schedule[] }>("schedules", { name: draft.name, limit: 1 });
      const same = schedules.find(({ name }) => name === draft.name);
      if (same) return warn(same);
    }
    await act("PUT", `schedules/${encodeURIComponent(draft.name)}`, requestOf(draft, of));
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
            Seconds <input type="number" min="1" {...field("seconds")} />
          </label>
        )}
        {draft.kind === "at" && (
          <label>
            Moment, ISO 8601 <input class="mono" spellcheck={false} {...field("at")} />
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
        Payload <textarea rows={4} spellcheck={false} aria-invalid={problem !== undefined} {...field("payload")} />
      </label>
      <p class="problem" role="status">{problem}</p>
      <details>
        <summary>What if …</summary>
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
          There is a schedule of this name: {taken.message_type}, {rhythm(taken.schedule_config)}. Saving replaces it.
        </p>
      )}
      <div class="buttons">
        <Do
          label={replaces ? `Replace ${taken.name}` : "Save"}
          kind="primary"
          act={save}
          disabled={!draft.name || !draft.type || problem !== undefined}
        />
        <button type="button" onClick={close}>Leave it</button>
      </div>
    </Dialog>
  );
}

const POLICIES: [name: "misfire" | "overlap" | "dstGap" | "dstOverlap", label: string, options: [string, string][]][] =
  [
    ["misfire", "… runs were missed", [["fire_once", "send the latest"], ["catch_up", "send each"], [
      "skip",
      "send none that is late",
    ]]],
    ["overlap", "… the last one is unfinished", [["allow", "send another"], ["skip", "send none"], [
      "replace",
      "replace it",
    ]]],
    ["dstGap", "… the clock skips the time", [["run_after", "run after the gap"], ["skip", "do not run"]]],
    ["dstOverlap", "… the time comes twice", [["first", "run the first time"], ["second", "the second"], [
      "both",
      "both times",
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
