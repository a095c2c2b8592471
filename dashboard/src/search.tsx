// A search whose question stands in the address, so that it can be sent to a colleague.
import { go, linkTo } from "./route.ts";

export interface Field {
  name: string;
  label: string;
  /** Values with what they are called; the empty value is what holds when nothing is chosen. */
  options?: [value: string, label: string][];
  /** A moment, chosen in the reader's own time; the address has it in UTC. */
  moment?: boolean;
  /** It need not be written whole. */
  part?: boolean;
  /** Seldom asked for: shown when it is, or when the rest is unfolded. */
  rare?: boolean;
}

export function Search({ view, fields, query }: { view: string; fields: Field[]; query: Record<string, string> }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement); // the form this handler is on
    const requested = fields.map(({ name, moment }): [string, string] => {
      const value = String(form.get(name) ?? "").trim();
      return [name, moment && value ? new Date(value).toISOString() : value];
    });
    go([view], Object.fromEntries(requested));
  };
  const often = fields.filter(({ rare }) => !rare);
  const rare = fields.filter((field) => field.rare);
  return (
    <form class="search" role="search" onSubmit={submit} key={JSON.stringify(query)}>
      {often.map((field) => <Asked key={field.name} field={field} value={query[field.name] ?? ""} />)}
      <div class="buttons">
        <button type="submit" class="primary">Search</button>
        <a class="button quiet" href={linkTo([view])}>Clear</a>
      </div>
      {rare.length > 0 && (
        <details class="rest" open={rare.some(({ name }) => query[name])}>
          <summary>More filters</summary>
          <div>{rare.map((field) => <Asked key={field.name} field={field} value={query[field.name] ?? ""} />)}</div>
        </details>
      )}
    </form>
  );
}

function Asked({ field: { name, label, options, moment, part }, value }: { field: Field; value: string }) {
  return (
    <label>
      {label}
      {options
        ? (
          <select name={name} defaultValue={value}>
            {options.map(([choice, text]) => (
              <option key={choice} value={choice} selected={value === choice}>{text}</option>
            ))}
          </select>
        )
        : moment
        ? <input type="datetime-local" step="1" name={name} defaultValue={localTime(value)} />
        : (
          <input
            name={name}
            defaultValue={value}
            placeholder={part ? "" : "exactly"}
            autocomplete="off"
            spellcheck={false}
          />
        )}
    </label>
  );
}

/** A moment as the browser's own field has it; nothing for what is no moment. */
function localTime(moment: string): string {
  const at = Date.parse(moment);
  if (Number.isNaN(at)) return "";
  return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
