// Planted bugs of spans on their way to the collector, and of work after the reply.
import type { TypeScriptMutant } from "../mutant.ts";

const exporter = "shared/tracing/exporter.ts";
const exporting = ["shared/tracing/exporter.test.ts"];

export const TRACING: readonly TypeScriptMutant[] = [
  {
    name: "spans do not keep the isolate alive",
    breaks: "An isolate lives until the collector has received its spans.",
    file: exporter,
    find: "keepAlive(this.#drain())",
    replace: "this.#drain()",
    noticedBy: exporting,
  },
  {
    name: "work after the reply does not keep the isolate alive",
    breaks: "An isolate lives until its work after the reply is done.",
    file: "shared/background.ts",
    find: "EdgeRuntime.waitUntil(settled)",
    replace: "void settled",
    noticedBy: ["shared/background.test.ts"],
  },
  {
    name: "failing work after the reply ends the isolate",
    breaks: "Work after the reply may fail.",
    file: "shared/background.ts",
    find: "work.catch(() => {})",
    replace: "work",
    noticedBy: ["shared/background.test.ts"],
  },
  {
    name: "each span is a request",
    breaks: "Spans are sent in batches.",
    file: exporter,
    find: "DELAY = 1_000",
    replace: "DELAY = 0",
    noticedBy: exporting,
  },
  {
    name: "spans wait without a bound",
    breaks: "A collector that hangs costs a bounded amount of memory.",
    file: exporter,
    find: "if (this.#waiting.length >= MOST_WAITING)",
    replace: "if (this.#waiting.length < 0)",
    noticedBy: exporting,
  },
  {
    name: "each lost span is logged",
    breaks: "Lost spans are logged once per minute.",
    file: exporter,
    find: "if (clock.now() < this.#nextLog) return;",
    replace: "",
    noticedBy: exporting,
  },
  {
    name: "spans wait at the end of the isolate",
    breaks: "Spans of an isolate that ends are sent at once.",
    file: exporter,
    find: "!this.#hurried && ",
    replace: "",
    noticedBy: exporting,
  },
  {
    name: "the end of the isolate is not detected",
    breaks: "Spans of an isolate that ends are sent at once.",
    file: "shared/tracing/tracer.ts",
    find: '  addEventListener("beforeunload", () => exporter.hurry());\n',
    replace: "",
    noticedBy: ["shared/tracing/tracer.test.ts"],
  },
];
