// Every planted bug in TypeScript.
import type { TypeScriptMutant } from "../mutant.ts";
import { CALLING } from "./calling.ts";
import { CONSUMING } from "./consuming.ts";
import { DASHBOARD } from "./dashboard.ts";
import { HANDLING } from "./handling.ts";
import { LOCAL } from "./local.ts";
import { RECORDING } from "./recording.ts";
import { SENDING } from "./sending.ts";
import { SETTINGS } from "./settings.ts";
import { TRACING } from "./tracing.ts";
import { WAITING } from "./waiting.ts";
import { WEBHOOKS } from "./webhooks.ts";

export const TYPESCRIPT_MUTANTS: readonly TypeScriptMutant[] = [
  ...SENDING,
  ...CONSUMING,
  ...WAITING,
  ...RECORDING,
  ...HANDLING,
  ...CALLING,
  ...SETTINGS,
  ...TRACING,
  ...WEBHOOKS,
  ...DASHBOARD,
  ...LOCAL,
];
