// A search form. Its values are in the address, so that a search can be shared.
import { go, linkTo } from "./route.ts";

export interface Field {
  name: string;
  label: string;
  /** Values with their labels; the empty value is the default. */
  options?: [value: string, label: string][];
  /** A moment, shown in the reader's time zone; the address has it in UTC. */
  moment?: boolean;
  /** The value may be a part of the field. */
  part?: boolean;
  /** Shown under More filters. */
  rare?: boolean;
}

export function Search({ view, fields, query }: { view: string; fields: Field[]; query: Record<string, string> }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement); // the form this handler is on
    const values = fields.map(({ name, moment }): [string, string] => {
      const value = String(form.get(name) ?? "").trim();
      return [name, moment && value ? new Date(value).toISOString() : value];
    });
    go([view], Object.fromEntries(values));
  };
  const often = fields.filter(({ rare }) => !rare);
  const rare = fields.filter((field) => field.rare);
  return (
    <form class="search" role="search" onSubmit={submit} key={JSON.stringify(query)}>
      {often.map((field) => <Input key={field.name} field={field} value={query[field.name] ?? ""} />)}
      <div class="buttons">
        <button type="submit" class="primary">Search</button>
        <a class="button quiet" href={linkTo([view])}>Clear</a>
      </div>
      {rare.length > 0 && (
        <details class="rest" open={rare.some(({ name }) => query[name])}>
          <summary>More filters</summary>
          <div>{rare.map((field) => <Input key={field.name} field={field} value={query[field.name] ?? ""} />)}</div>
        </details>
      )}
    </form>
  );
}

function Input({ field: { name, label, options, moment, part }, value }: { field: Field; value: string }) {
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
            placeholder={part ? "" : "exact"}
            autocomplete="off"
            spellcheck={false}
          />
        )}
    </label>
  );
}

/** A moment in the format of the browser's field; an empty text if it is not valid. */
function localTime(moment: string): string {
  const at = Date.parse(moment);
  if (Number.isNaN(at)) return "";
  return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
