// The edge function for producers: accepts messages, one or a batch, and returns the state of a message to its sender.
import { messageTypes, middleware } from "../../packs/index.ts";
import { identify } from "../../shared/http/auth.ts";
import { createDispatcher } from "../../shared/dispatch/dispatch.ts";
import { batchBody, sentBody, STATE_COLUMNS, stateBody } from "../../shared/dispatch/reply.ts";
import { type DispatchRequest, keyOf, parseBatch, parseDispatch, withKey } from "../../shared/dispatch/request.ts";
import { createApp, logFailure, traceHeaders } from "../../shared/http/app.ts";
import { SymphonyError } from "../../shared/errors.ts";
import { bootstrap } from "../../shared/bootstrap.ts";
import { type BodyLimit, readJsonBody } from "../../shared/http/body.ts";
import { createTransportTypes } from "../../shared/dispatch/transport_types.ts";

const ONE: BodyLimit = { bytes: 512 * 1024, code: "SM_PAYLOAD_TOO_LARGE", envelope: 2 };
const BATCH: BodyLimit = { bytes: 8 * 1024 * 1024, code: "SM_BATCH_TOO_LARGE", envelope: 4 };
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const isolate = bootstrap("dispatch", messageTypes, middleware);
const { env, db, log } = isolate;
const dispatcher = createDispatcher({
  ...isolate,
  transportTypes: createTransportTypes(db, isolate.clock),
  defaults: { ...env.defaults, maxRetries: env.retry.maxRetries },
  ready: isolate.register,
});

// At the start of the isolate, because SQL dispatches the types too. A dispatch tries again and reports a failure.
isolate.register().catch(() => {});

const app = createApp("dispatch", { log, cors: true });

app.post("/", async (c) => {
  const caller = await identify(c.req.raw, env);
  const body = parseDispatch(await readJsonBody(c.req.raw, ONE));
  const request: DispatchRequest = withKey(body, c.req.header("idempotency-key"));
  const sent = caller.kind === "service"
    ? await dispatcher.dispatch(request, traceHeaders(c))
    : await dispatcher.dispatchAsUser(request, traceHeaders(c), db.as(caller.jwt));
  return c.json(sentBody(sent, request.options?.idempotencyKey), sent.duplicate ? 200 : 201);
});

app.post("/batch", async (c) => {
  const caller = await identify(c.req.raw, env);
  if (caller.kind === "user") {
    throw new SymphonyError("SM_FIELD_FORBIDDEN", "Users may not send the field messages: batches are for services.", {
      hint: "Send one message per call, or call from a server with a secret key.",
    });
  }
  if (c.req.header("idempotency-key") !== undefined) {
    throw new SymphonyError(
      "SM_IDEMPOTENCY_KEY",
      "A batch must not have the header Idempotency-Key: each message has its own key.",
      {
        hint: "Leave the header Idempotency-Key out, and send options.idempotencyKey with each message.",
      },
    );
  }
  const { messages, atomic } = parseBatch(await readJsonBody(c.req.raw, BATCH));
  const results = await dispatcher.dispatchBatch(messages, atomic, traceHeaders(c));
  for (const result of results) if (result instanceof SymphonyError) logFailure(c, result, log);
  const body = batchBody(results, messages.map(keyOf), c.get("requestId"));
  return c.json(body, body.success ? 201 : 207);
});

app.get("/:id", async (c) => {
  const caller = await identify(c.req.raw, env);
  const id = c.req.param("id");
  const callersDb = caller.kind === "service" ? db : db.as(caller.jwt);
  // Users of another identity provider whose id is not a UUID own no messages; row level security could not compare it.
  const mayExist = UUID.test(id) && (caller.kind === "service" || UUID.test(caller.claims.sub));
  const [row] = mayExist ? await callersDb.read("messenger_messages", STATE_COLUMNS, { id }) : [];
  if (!row) throw new SymphonyError("SM_NOT_FOUND", "There is no such message, or it is not yours.");
  return c.json(stateBody(row));
});

export default { fetch: app.fetch };
