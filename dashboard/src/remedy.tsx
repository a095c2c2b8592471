// A reason why a message waits, with what fixes it: a button where a click can, else the words to paste.
import { act, type FullMessage, type Message, type Reason } from "./api.ts";
import { Do, Remedy } from "./parts.tsx";
import { linkTo } from "./route.ts";
import { toast } from "./toast.tsx";

const COPY = "To dispatch a copy of it, as a new message:";
const NOW = "To have it handled now:";
const PURPOSES: Record<string, string> = {
  expired: COPY,
  cancelled: COPY,
  discarded: COPY,
  delayed: NOW,
  backing_off: NOW,
  snoozed: NOW,
  no_worker: "To run a worker and see what it answers:",
  waiting_turn: "To let it go first, or have more workers:",
};

export function Mend({ reason, message, again }: {
  reason: Reason;
  message: Message | FullMessage;
  again: () => Promise<void>;
}) {
  const transport = encodeURIComponent(message.transport_name);
  const mend = async (method: "POST" | "PUT", path: string, body: unknown, news: string) => {
    await act(method, path, body);
    toast(news);
    await again();
  };
  if (reason.reason === "paused") {
    return (
      <Do
        label={`Resume queue ${message.queue_name}`}
        kind="primary"
        act={() =>
          mend(
            "POST",
            `queues/${transport}/${encodeURIComponent(message.queue_name)}/resume`,
            undefined,
            `Queue ${message.queue_name} runs again`,
          )}
      />
    );
  }
  if (reason.reason === "transport_disabled") {
    return (
      <Do
        label={`Enable transport ${message.transport_name}`}
        kind="primary"
        act={() =>
          mend("PUT", `transports/${transport}`, { enabled: true }, `Transport ${message.transport_name} is enabled`)}
      />
    );
  }
  const deadLetter = "dead_letters" in message && message.dead_letters.find(({ resolution }) => resolution === null);
  if (reason.reason === "failed" && deadLetter) {
    return <a class="button primary" href={linkTo(["failed", deadLetter.id])}>Retry, edit or discard it</a>;
  }
  // Its page says the same, and the reason's text leads there.
  if (!reason.remedy || reason.remedy.startsWith("select * from messenger_explain(")) return null;
  const purpose = PURPOSES[reason.reason];
  return (
    <>
      {purpose && <p>{purpose}</p>}
      <Remedy text={reason.remedy} />
    </>
  );
}
