// The pack of examples: one message type for each feature of handlers. To remove it, delete the folder and its lines in
// packs/index.ts.
import type { MessageType } from "../../shared/message.ts";
import exampleBatch from "./example_batch.ts";
import exampleFlaky from "./example_flaky.ts";
import exampleHopeless from "./example_hopeless.ts";
import exampleQuick from "./example_quick.ts";
import exampleSlow from "./example_slow.ts";
import exampleSnooze from "./example_snooze.ts";
import exampleUser from "./example_user.ts";

export const example: readonly MessageType[] = [
  exampleBatch,
  exampleFlaky,
  exampleHopeless,
  exampleQuick,
  exampleSlow,
  exampleSnooze,
  exampleUser,
];
