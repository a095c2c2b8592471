// A schedule is made or changed, with its next runs shown while it is written.
import { useEffect, useState } from "preact/hooks";
import { act, type Schedule } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { pretty } from "./format.ts";
import { Do } from "./parts.tsx";
import { Runs } from "./runs.tsx";
import { toast } from "./toast.tsx";

const WAIT = 400; // ms after the last key, before the preview is asked for

export function ScheduleForm({ of, close, saved }: { of?: Schedule; close: () => void; saved: () => void }) {
  const [name, setName] = useState(of?.name ?? "");
  const [type, setType] = useState(of?.message_type ?? "");
  const [kind, setKind] = useState(
    of?.schedule_type === "interval" ? "interval" : of?.schedule_type === "once" ? "at" : "cron",
  );
  const [cron, setCron] = useState(of?.schedule_config.cron ?? "0 9 * * mon-fri");
  const [seconds, setSeconds] = useState(String((of?.schedule_config.interval ?? 60_000) / 1_000));
  const [at, setAt] = useState(of?.schedule_config.at ?? new Date(Date.now() + 3_600_000).toISOString());
  const [timezone, setTimezone] = useState(of?.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone);
  const [payload, setPayload] = useState(of ? pretty(of.body) : "{}");

  const when: Record<string, string | number> = kind === "cron"
    ? { cron }
    : kind === "interval"
    ? { interval: Number(seconds) * 1_000 }
    : { at };
  const [preview, setPreview] = useState<Record<string, string>>();
  const asked = JSON.stringify({ ...when, timezone });
  useEffect(() => {
    const timer = setTimeout(
      () =>
        setPreview(Object.fromEntries(Object.entries(JSON.parse(asked)).map(([key, value]) => [key, String(value)]))),
      WAIT,
    );
    return () => clearTimeout(timer);
  }, [asked]);

  const save = async () => {
    await act("PUT", `schedules/${encodeURIComponent(name)}`, {
      type,
      payload: JSON.parse(payload),
      timezone,
      ...when,
    });
    toast(`${name} is saved`);
    close();
    saved();
  };
  return (
    <Dialog title={of ? `Edit ${of.name}` : "New schedule"} close={close}>
      <div class="fields">
        <label>
          Name{" "}
          <input value={name} disabled={of !== undefined} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <label>
          Message type <input value={type} onInput={(event) => setType(event.currentTarget.value)} />
        </label>
        <label>
          Kind
          <select value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
            <option value="cron">cron</option>
            <option value="interval">interval</option>
            <option value="at">once</option>
          </select>
        </label>
        {kind === "cron" && (
          <label>
            Cron <input class="mono" value={cron} onInput={(event) => setCron(event.currentTarget.value)} />
          </label>
        )}
        {kind === "interval" && (
          <label>
            Seconds{" "}
            <input type="number" min="1" value={seconds} onInput={(event) => setSeconds(event.currentTarget.value)} />
          </label>
        )}
        {kind === "at" && (
          <label>
            Moment <input class="mono" value={at} onInput={(event) => setAt(event.currentTarget.value)} />
          </label>
        )}
        <label>
          Time zone <input value={timezone} onInput={(event) => setTimezone(event.currentTarget.value)} />
        </label>
      </div>
      <label>
        Payload{" "}
        <textarea
          rows={4}
          spellcheck={false}
          value={payload}
          onInput={(event) => setPayload(event.currentTarget.value)}
        />
      </label>
      <h3>Next runs</h3>
      {preview && <Runs query={preview} />}
      {of && <p class="faint">Policies that are not shown here go back to their defaults when it is saved.</p>}
      <div class="buttons">
        <Do label="Save" kind="primary" act={save} disabled={!name || !type} />
        <button type="button" onClick={close}>Leave it</button>
      </div>
    </Dialog>
  );
}
