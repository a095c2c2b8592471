// Planted bugs of the local stand-ins for the edge runtime and the data API, which other tests rely on.
import type { TypeScriptMutant } from "../mutant.ts";

const isolate = "supabase/local/isolate.ts";
const rpc = "supabase/local/rpc.ts";
const isolates = ["local/isolate.test.ts"];
const gateway = ["local/gateway.test.ts"];

export const LOCAL: readonly TypeScriptMutant[] = [
  {
    name: "isolates retire at the end of their wall clock",
    breaks: "At half of its wall clock an isolate gets no new requests, as on the hosted platform.",
    file: isolate,
    find: "after(limits.wallClock / 2, retire)",
    replace: "after(limits.wallClock, retire)",
    noticedBy: isolates,
  },
  {
    name: "isolates have no wall clock",
    breaks: "At the end of its wall clock an isolate is killed, and its open requests get 504.",
    file: isolate,
    find: 'after(limits.wallClock, () => terminate("wall_clock"));',
    replace: "",
    noticedBy: isolates,
  },
  {
    name: "an isolate without CPU is an error",
    breaks: "The open requests of an isolate that uses up its CPU get 546, as on the hosted platform.",
    file: isolate,
    find: 'reason === "cpu" || outOfMemory',
    replace: "outOfMemory",
    noticedBy: isolates,
  },
  {
    name: "isolates have no CPU limit",
    breaks: "An isolate that uses up its CPU is killed.",
    file: isolate,
    find: 'if (used >= limit) return terminate("cpu");',
    replace: "",
    noticedBy: isolates,
  },
  {
    name: "isolates retire at the end of their CPU",
    breaks: "At half of its CPU an isolate gets no new requests.",
    file: isolate,
    find: "if (used >= limit / 2) retire();",
    replace: "",
    noticedBy: isolates,
  },
  {
    name: "an isolate that does not react is not stopped",
    breaks: "Stopping an isolate ends it in any case.",
    file: isolate,
    find: 'hasEnded || child.kill("SIGKILL")',
    replace: 'hasEnded || child.kill("SIGTERM")',
    noticedBy: isolates,
  },
  {
    name: "a retired isolate continues",
    breaks: "A retired isolate ends when it has finished its open requests.",
    file: isolate,
    find: 'if (retired && active === 0) command("retire");',
    replace: "",
    noticedBy: isolates,
  },
  {
    name: "GET may write",
    breaks: "GET runs read only, as in PostgREST.",
    file: rpc,
    find: "readOnly: true",
    replace: "readOnly: false",
    noticedBy: gateway,
  },
  {
    name: "a stable function may write",
    breaks: "A function that is declared stable runs read only, as in PostgREST.",
    file: rpc,
    find: "readOnly: routine.readOnly",
    replace: "readOnly: false",
    noticedBy: gateway,
  },
];
