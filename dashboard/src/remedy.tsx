// The remedy of a reason: a button where a click fixes it, else a statement to copy.
import type { Message, MessageSummary, Reason } from "../../shared/operators/messages.ts";
import { callAdmin } from "./api.ts";
import { ActionButton, Remedy } from "./parts.tsx";
import { linkTo } from "./route.ts";
import { toast } from "./toast.tsx";

const COPY = "To dispatch a copy as a new message:";
const NOW = "To make it due now:";
const PURPOSES: Record<string, string> = {
  expired: COPY,
  cancelled: COPY,
  discarded: COPY,
  delayed: NOW,
  backing_off: NOW,
  snoozed: NOW,
  no_worker: "To run a worker and see its response:",
  waiting_turn: "To put it first, or to run more workers:",
};

export function ReasonRemedy({ reason, message, refresh }: {
  reason: Reason;
  message: MessageSummary | Message;
  refresh: () => Promise<void>;
}) {
  const transport = encodeURIComponent(message.transport_name);
  const fix = async (method: "POST" | "PUT", path: string, body: unknown, news: string) => {
    await callAdmin(method, path, body);
    toast(news);
    await refresh();
  };
  if (reason.reason === "paused") {
    return (
      <ActionButton
        label={`Resume queue ${message.queue_name}`}
        kind="primary"
        action={() =>
          fix(
            "POST",
            `queues/${transport}/${encodeURIComponent(message.queue_name)}/resume`,
            undefined,
            `Queue ${message.queue_name} is resumed`,
          )}
      />
    );
  }
  if (reason.reason === "transport_disabled") {
    return (
      <ActionButton
        label={`Enable transport ${message.transport_name}`}
        kind="primary"
        action={() =>
          fix("PUT", `transports/${transport}`, { enabled: true }, `Transport ${message.transport_name} is enabled`)}
      />
    );
  }
  const deadLetter = "dead_letters" in message && message.dead_letters.find(({ resolution }) => resolution === null);
  if (reason.reason === "failed" && deadLetter) {
    return <a class="button primary" href={linkTo(["failed", deadLetter.id])}>Retry, edit or discard it</a>;
  }
  // The page of that message shows the same, and the reason's text links to it.
  if (!reason.remedy || reason.remedy.startsWith("select * from messenger_explain(")) return null;
  const purpose = PURPOSES[reason.reason];
  return (
    <>
      {purpose && <p>{purpose}</p>}
      <Remedy text={reason.remedy} />
    </>
  );
}
