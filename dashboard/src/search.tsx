// A search whose question stands in the address, so that it can be sent to a colleague.
import { go, linkTo } from "./route.ts";

export interface Field {
  name: string;
  label: string;
  /** Values with what they are called; the empty value is what holds when nothing is chosen. */
  options?: [value: string, label: string][];
}

export function Search({ view, fields, query }: { view: string; fields: Field[]; query: Record<string, string> }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement); // the form this handler is on
    go([view], Object.fromEntries(fields.map(({ name }) => [name, String(form.get(name) ?? "").trim()])));
  };
  return (
    <form class="search" role="search" onSubmit={submit} key={JSON.stringify(query)}>
      {fields.map(({ name, label, options }) => (
        <label key={name}>
          {label}
          {options
            ? (
              <select name={name} defaultValue={query[name] ?? ""}>
                {options.map(([value, text]) => (
                  <option key={value} value={value} selected={(query[name] ?? "") === value}>{text}</option>
                ))}
              </select>
            )
            : <input name={name} defaultValue={query[name] ?? ""} autocomplete="off" spellcheck={false} />}
        </label>
      ))}
      <div class="buttons">
        <button type="submit" class="primary">Search</button>
        <a class="button quiet" href={linkTo([view])}>Clear</a>
      </div>
    </form>
  );
}
