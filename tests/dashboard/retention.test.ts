// The retention of resolved dead letters as the page shows it: the setting of their transports.
import assert from "node:assert/strict";
import { failedRetention } from "../../dashboard/src/retention.ts";
import type { Transport } from "../../shared/operators/transports.ts";

const transport = (name: string, failed_retention?: string | number | null): Transport => ({
  id: "0190a000-0000-7000-8000-000000000000",
  name,
  type: "supabase",
  config: { failed_retention },
  enabled: true,
  created_at: "2026-01-01T00:00:00Z",
  updated_at: "2026-01-01T00:00:00Z",
});

Deno.test("retention · the default is 30 days", () => {
  assert.equal(failedRetention([transport("a"), transport("b", null)]), "30 days");
  assert.equal(failedRetention([], ["pruned"]), "30 days");
});

Deno.test("retention · only the transports of the dead letters count", () => {
  const transports = [transport("a", "60 days"), transport("b", "1 year")];
  assert.equal(failedRetention(transports, ["a"]), "60 days");
  assert.equal(failedRetention(transports, ["a", "b"]), "60 days or 1 year, depending on the transport");
  assert.equal(failedRetention(transports), "60 days or 1 year, depending on the transport");
});
