// Middleware of packs/index.ts, and traces, in the real edge functions: with the worker and with the sync transport.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { rootWith } from "../own_packs.ts";
import { testLocally, useTarget } from "../target.ts";

const root = await rootWith({
  "packs/index.ts": `
    import { z } from "zod";
    import { defineMessage } from "../shared/message.ts";
    import type { Middleware } from "../shared/middleware.ts";

    const stamp: Middleware = async (ctx, next) => {
      ctx.log = ctx.log.with({ tenant: ctx.envelope.metadata.tenant });
      const outcome = await next();
      return outcome?.outcome === "completed" ? { ...outcome, result: { stamped: outcome.result } } : outcome;
    };
    export const messageTypes = [
      defineMessage({
        type: "Traced",
        payload: z.object({ next: z.boolean() }),
        async handle({ next }, ctx) {
          const headers = { traceparent: ctx.traceparent };
          if (next) await ctx.db.call("messenger_dispatch", { type: "Traced", payload: { next: false }, headers });
          return ctx.traceparent;
        },
      }),
    ];
    export const middleware = [stamp];
    `,
});
const lines: string[] = [];
const { target, project } = useTarget({
  root,
  env: { SYMPHONY_WORKER_LINGER: "0" },
  log: (line: string) => void lines.push(line),
});

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const message = { type: "Traced", payload: { next: true }, metadata: { tenant: "acme" } };
const headers = { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` };

testLocally(
  "middleware · of packs/index.ts runs in the worker, and a trace continues from call to handler to next message",
  async () => {
    const { body } = await target().call("dispatch", { json: { message }, headers });
    await target().call("worker?wait=1", { json: {} });
    await target().call("worker?wait=1", { json: {} });
    const rows = await project().sql`select id, headers, result from messenger_messages order by id`;
    assert.deepEqual([rows.length, rows[0].id], [2, body.messageId]);
    const [first, second] = rows.map(({ result }) => result.stamped);
    assert.equal(rows[1].headers.traceparent, first);
    for (const traceparent of [first, second]) assert.match(traceparent, new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`));
    const span = first.split("-")[2];
    await eventually(
      "the log line of the delivery has both ids",
      () => lines.some((line) => ["handled", TRACE, span, '"tenant":"acme"'].every((part) => line.includes(part))),
    );
  },
);

testLocally("middleware · of packs/index.ts runs around a handler inside the dispatching call, too", async () => {
  const { body } = await target().call("dispatch", { json: { message, options: { transport: "sync" } }, headers });
  assert.match(String((body.result as { stamped: string }).stamped), new RegExp(`^00-${TRACE}-`));
});
