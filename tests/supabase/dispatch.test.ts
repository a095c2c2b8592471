// messenger_dispatch and messenger_dispatch_batch: what is stored, what is answered, what is refused.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../project.ts";

const project = useProject();
Deno.test.beforeEach(() => empty(project().sql));

test("dispatch · answers what was stored", async () => {
  const { sql } = project();
  const [answer] = await sql`select * from messenger_dispatch('Greeting', '{"to": "Ada"}', queue => 'letters', priority => 7)`;
  const [row] = await sql`select * from messenger_messages`;
  assert.equal(answer.id, row.id);
  assert.deepEqual([answer.duplicate, answer.status, answer.transport, answer.queue], [false, "pending", "supabase", "letters"]);
  assert.deepEqual([row.body, row.priority, row.max_retries, row.retry_count, row.fence], [{ to: "Ada" }, 7, 3, 0, "0"]);
});
