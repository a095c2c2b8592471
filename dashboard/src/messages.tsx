// The list of messages: searched, newest first.
import type { Messages as MessagePage, MessageSummary } from "../../shared/operators/messages.ts";
import { getMonitor } from "./api.ts";
import { plural } from "./format.ts";
import { useLive } from "./live.ts";
import { Empty, Loaded, Older, State, stateOf, Time } from "./parts.tsx";
import { type Field, Search } from "./search.tsx";
import { linkTo } from "./route.ts";

const FIELDS: Field[] = [
  {
    name: "status",
    label: "State",
    options: [["", "any"], ["pending", "waiting"], ["processing", "running"], ["completed", "completed"], [
      "failed",
      "failed",
    ]],
  },
  { name: "type", label: "Type" },
  { name: "queue", label: "Queue" },
  { name: "id", label: "ID" },
  { name: "errorClass", label: "Error class" },
  { name: "idempotencyKey", label: "Idempotency key", rare: true },
  { name: "orderingKey", label: "Ordering key", rare: true },
  { name: "transport", label: "Transport", rare: true },
  { name: "createdBy", label: "User", rare: true },
  { name: "from", label: "Dispatched from", moment: true, rare: true },
  { name: "to", label: "Dispatched before", moment: true, rare: true },
];

export function Messages({ query }: { query: Record<string, string> }) {
  const live = useLive(
    `messages ${JSON.stringify(query)}`,
    () => getMonitor<MessagePage>("messages", { ...query, limit: 50 }),
  );
  return (
    <>
      <header class="heading">
        <h1>Messages</h1>
      </header>
      <Search view="messages" fields={FIELDS} query={query} />
      <Loaded live={live}>
        {({ messages, pagination }) => (
          <>
            <p class="faint" role="status">
              {plural(pagination.total, "message", pagination.estimated)}
            </p>
            {messages.length === 0 && !pagination.hasMore && (
              <Empty title="No messages found">
                <p>
                  No message matches this search. Finished messages are deleted after the retention of their transport
                  (default: 7 days).
                </p>
              </Empty>
            )}
            {messages.length > 0 && <Table messages={messages} />}
            <Older view="messages" query={query} page={pagination} />
          </>
        )}
      </Loaded>
    </>
  );
}

function Table({ messages }: { messages: MessageSummary[] }) {
  return (
    <div class="scroll">
      <table class="cards">
        <thead>
          <tr>
            <th>State</th>
            <th>Type</th>
            <th>Queue</th>
            <th>Dispatched</th>
            <th>Due</th>
            <th class="number">Failures</th>
            <th>Last error</th>
          </tr>
        </thead>
        <tbody>
          {messages.map((message) => (
            <tr key={message.id}>
              <td>
                <State of={stateOf(message)} />
              </td>
              <td>
                <a href={linkTo(["messages", message.id])}>{message.message_type}</a>
              </td>
              <td data-label="Queue">{message.queue_name}</td>
              <td data-label="Dispatched">
                <Time at={message.created_at} />
              </td>
              <td data-label="Due" class={message.status === "pending" ? undefined : "none"}>
                {message.status !== "pending"
                  ? <span class="faint">–</span>
                  : message.blocked
                  ? "after the previous message"
                  : <Time at={message.available_at} />}
              </td>
              <td class="number">{message.retry_count}</td>
              <td class={message.error_class || message.last_error ? "clip" : "none"}>
                {message.error_class && <strong>{message.error_class}</strong>} {message.last_error}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
