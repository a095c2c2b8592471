// The page: its header with the navigation, and the view that the address names.
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Failed } from "./dead_letters.tsx";
import { OneDeadLetter } from "./dead_letter.tsx";
import { setPaused, useDisconnected } from "./live.ts";
import { OneMessage } from "./message.tsx";
import { Messages } from "./messages.tsx";
import { Overview } from "./overview.tsx";
import { linkTo, type Route, useRoute } from "./route.ts";
import { Schedules } from "./schedules.tsx";
import { Toasts } from "./toast.tsx";
import { readTheme, storeTheme, THEMES } from "./theme.ts";
import { Transports } from "./transports.tsx";

const VIEWS: [path: string, label: string][] = [
  ["", "Overview"],
  ["messages", "Messages"],
  ["failed", "Dead letters"],
  ["schedules", "Schedules"],
  ["transports", "Transports"],
];

function viewOf({ path: [view = "", id], query }: Route) {
  if (view === "messages") return id ? <OneMessage id={id} key={id} /> : <Messages query={query} />;
  if (view === "failed") return id ? <OneDeadLetter id={id} key={id} /> : <Failed query={query} />;
  if (view === "schedules") return <Schedules query={query} />;
  if (view === "transports") return <Transports />;
  return <Overview minutes={Number(query.minutes) || 60} />;
}

// The hash of the address is the view, so the skip link must not change it.
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function App() {
  const route = useRoute();
  const [view = ""] = route.path;
  const [isPaused, pause] = useState(false);
  const isDisconnected = useDisconnected();
  const [theme, setTheme] = useState(readTheme);
  useEffect(() => storeTheme(theme), [theme]);
  useEffect(() => {
    document.title = `${VIEWS.find(([path]) => path === view)?.[1] ?? "Overview"} · Symphony Messenger`;
    scrollTo(0, 0);
    document.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }); // on a phone
  }, [view, route.path[1]]);
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>Skip to content</a>
      <header class="top">
        <a class="brand" href={linkTo([])}>
          <img src="/icon.svg" alt="" width="24" height="24" /> Symphony
        </a>
        <nav aria-label="Views">
          {VIEWS.map(([path, label]) => (
            <a key={path} href={linkTo(path ? [path] : [])} aria-current={view === path ? "page" : undefined}>
              {label}
            </a>
          ))}
        </nav>
        <div class="switches">
          <button
            type="button"
            class="quiet"
            aria-pressed={isPaused}
            onClick={() => {
              setPaused(!isPaused);
              pause(!isPaused);
            }}
          >
            <span class={isPaused ? "dot" : isDisconnected ? "dot lost" : "dot live"} aria-hidden="true" />{" "}
            {isPaused ? "Paused" : isDisconnected ? "Disconnected" : "Live"}
          </button>
          <label class="inline">
            <span class="hidden">Theme</span>
            <select value={theme} onChange={(event) => setTheme(event.currentTarget.value)}>
              {THEMES.map((name) => <option key={name} value={name} selected={name === theme}>{name}</option>)}
            </select>
          </label>
        </div>
      </header>
      <main id="main" tabIndex={-1}>{viewOf(route)}</main>
      <Toasts />
    </>
  );
}

const container = document.getElementById("app");
if (container) {
  container.replaceChildren();
  render(<App />, container);
}
