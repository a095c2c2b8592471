// Every SYMPHONY_ variable: its setting, the values it rejects, and its entry in the documentation.
import assert from "node:assert/strict";
import { type Env, readEnv } from "../../shared/env.ts";

const envOf = (source: Record<string, string>) => readEnv({ SUPABASE_URL: "https://project.supabase.co", ...source });

interface Variable {
  reads: (env: Env) => unknown;
  /** The setting of an unset variable. */
  unset: unknown;
  /** Accepted texts with their settings. */
  values: [text: string, value: unknown][];
  wrong: string[];
}

const whole = (
  reads: Variable["reads"],
  [min, max]: [number, number],
  unset: number | undefined,
): Variable => ({
  reads,
  unset,
  values: [[String(min), min], [String(max), max]],
  wrong: [String(max + 1), ...min > 0 ? [String(min - 1)] : [], "-1", "1.5", "1e3", "0x10", " 5", "5 s", "hunter2"],
});

const flag = (reads: Variable["reads"]): Variable => ({
  reads,
  unset: undefined,
  values: [["true", 100], ["false", 0], ["0", 0], ["37", 37], ["100", 100]],
  wrong: ["101", "-1", "12.5", "50%", "TRUE", " true", "hunter2"],
});

const name = (reads: Variable["reads"]): Variable => ({
  reads,
  unset: undefined,
  values: [["a", "a"], ["0-dead_letters_2", "0-dead_letters_2"], ["a".repeat(63), "a".repeat(63)]],
  wrong: ["Letters", "_letters", "a b", "a/b", " ", "a".repeat(64), "hunter2 b"],
});

const VARIABLES: Record<string, Variable> = {
  SYMPHONY_ENABLED: flag(({ flags }) => flags.enabled),
  SYMPHONY_EMAIL_QUEUE_ENABLED: flag(({ flags }) => flags.emailQueue),
  SYMPHONY_CAMPAIGN_PROCESSING_ENABLED: flag(({ flags }) => flags.campaignProcessing),
  SYMPHONY_SMS_DRIP_ENABLED: flag(({ flags }) => flags.smsDrip),
  SYMPHONY_DEFAULT_TRANSPORT: name(({ defaults }) => defaults.transport),
  SYMPHONY_DEFAULT_QUEUE: name(({ defaults }) => defaults.queue),
  SYMPHONY_DEFAULT_PRIORITY: whole(({ defaults }) => defaults.priority, [1, 10], undefined),
  SYMPHONY_RETRY_MAX_RETRIES: whole(({ retry }) => retry.maxRetries, [0, 100], undefined),
  SYMPHONY_RETRY_DELAY: whole(({ retry }) => retry.delay, [0, 86_400_000], undefined),
  SYMPHONY_RETRY_MULTIPLIER: {
    reads: ({ retry }) => retry.multiplier,
    unset: undefined,
    values: [["1", 1], ["1.5", 1.5], ["100", 100]],
    wrong: ["0.9", "100.1", "-2", "2x", "1e1", "hunter2"],
  },
  SYMPHONY_RETRY_MAX_DELAY: whole(({ retry }) => retry.maxDelay, [0, 2_592_000_000], undefined),
  SYMPHONY_WORKER_BATCH_SIZE: whole(({ worker }) => worker.batchSize, [1, 1_000], 10),
  SYMPHONY_WORKER_MAX_CONCURRENCY: whole(({ worker }) => worker.maxConcurrency, [1, 1_000], 10),
  SYMPHONY_WORKER_POLL_INTERVAL: whole(({ worker }) => worker.pollInterval, [10, 60_000], 50),
  SYMPHONY_WORKER_LEASE: whole(({ worker }) => worker.lease, [1_000, 43_200_000], 60_000),
  SYMPHONY_WORKER_LINGER: whole(({ worker }) => worker.linger, [0, 3_600_000], 5_000),
  SYMPHONY_WORKER_TIME_LIMIT: whole(({ worker }) => worker.timeLimit, [1_000, 86_400_000], 110_000),
  SYMPHONY_WORKER_MESSAGE_LIMIT: whole(({ worker }) => worker.messageLimit, [1, 1_000_000_000], Infinity),
  SYMPHONY_WORKER_SECRET: {
    reads: ({ worker }) => worker.secret,
    unset: undefined,
    values: [["a-secret.of.its.own", "a-secret.of.its.own"], ["x".repeat(16), "x".repeat(16)]],
    wrong: ["x".repeat(15), "hunter2 with spaces", "sb_secret_0123456789", "eyJhbGciOi.eyJzdWIiOiI.c2lnbmF0"],
  },
  SYMPHONY_JWT_ISSUER: {
    reads: ({ jwt }) => jwt.issuer,
    unset: undefined,
    values: [["https://clerk.example", "https://clerk.example"]],
    wrong: ["", " ", "\t\n", " https://clerk.example", "https://clerk.example\n", "hunter2 b"],
  },
  SYMPHONY_JWT_AUDIENCE: {
    reads: ({ jwt }) => jwt.audience,
    unset: undefined,
    values: [["authenticated", "authenticated"]],
    wrong: ["", " ", "authenticated ", "a,b", "hunter2 b"],
  },
  SYMPHONY_WEBHOOK_ALLOW_PRIVATE: {
    reads: ({ webhook }) => webhook.allowPrivate,
    unset: false,
    values: [["true", true], ["false", false]],
    wrong: ["1", "TRUE", " true", "hunter2"],
  },
};

const NEVER_EMPTY = ["SYMPHONY_JWT_ISSUER", "SYMPHONY_JWT_AUDIENCE"];

for (const [name, { reads, unset, values, wrong }] of Object.entries(VARIABLES)) {
  Deno.test(`settings · ${name} sets its own setting and no other`, () => {
    assert.equal(reads(envOf({})), unset);
    if (!NEVER_EMPTY.includes(name)) assert.equal(reads(envOf({ [name]: "" })), unset, "empty");
    for (const [text, value] of values) {
      const env = envOf({ [name]: text });
      assert.equal(reads(env), value, text);
      for (const [other, { reads, unset }] of Object.entries(VARIABLES)) {
        if (other !== name) assert.equal(reads(env), unset, other);
      }
    }
  });

  Deno.test(`settings · ${name} rejects a wrong value by its own name, without showing it`, () => {
    for (const text of wrong) {
      assert.throws(() => envOf({ [name]: text }), (error: Error) => {
        assert.match(error.message, new RegExp(`^${name} must [^;]*$`), JSON.stringify(text));
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      }, JSON.stringify(text));
    }
  });
}

Deno.test("settings · all wrong variables are named at once", () => {
  assert.throws(() => envOf({ SYMPHONY_WORKER_LEASE: "1", SYMPHONY_ENABLED: "perhaps" }), {
    message: "SYMPHONY_ENABLED must be true, false or a percentage from 0 to 100; " +
      "SYMPHONY_WORKER_LEASE must be a whole number from 1000 to 43200000",
  });
});

Deno.test("settings · these tests and docs/settings.md list exactly the variables of shared/env.ts", () => {
  const read = (path: string) => Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));
  const declared = [...read("shared/env.ts").matchAll(/^ {2}(SYMPHONY_\w+):/gm)].map(([, name]) => name).sort();
  assert.deepEqual(Object.keys(VARIABLES).sort(), declared);
  const rows = read("docs/settings.md").split("\n").filter((line) => line.startsWith("| `SYMPHONY_"));
  const documented = rows.flatMap((row) => [...row.split(" | ")[0].matchAll(/`(SYMPHONY_\w+)`/g)]);
  assert.deepEqual(documented.map(([, name]) => name).sort(), declared);
});
