// What the soak shows in the end, and what is wrong with it.
import { newTable } from "../../terminal.ts";
import { BLOWS } from "./faults.ts";
import type { SoakResult } from "./soak.ts";
import { MUST_BE_ZERO } from "./figures.ts";

/** Fewer lost wake-ups than this, and the run says nothing about them. */
const BELLS = 5;
/** Ticks per minute, throughout. */
const PACE = 55;
/** Seconds of ticks without which the run says nothing about their pace. */
const PACED = 20;

/** Prints the faults and the figures; returns what is wrong, in sentences. */
export function printSoak({ figures, landed, pace, wakeups, unanswered, seconds }: SoakResult): string[] {
  const wrong: string[] = [];
  const faults = newTable(["fault", "", "struck", "in flight"], 2);
  for (const blow of BLOWS) {
    const struck = landed.filter((one) => one.blow === blow && one.held > 0);
    faults.push([blow.fault, blow.what, struck.length, struck.reduce((sum, { held }) => sum + held, 0)]);
    if (struck.length === 0) wrong.push(`void: no message was in flight at "${blow.what}"`);
  }
  faults.push(["F9", "wake-ups lost, half of them", wakeups.dropped, ""]);
  faults.push(["F5", "calls of producers without an answer", unanswered, ""]);
  if (wakeups.dropped < BELLS) wrong.push(`void: only ${wakeups.dropped} wake-ups were lost`);

  const table = newTable(["figure", "", "must be"], 1);
  for (const [name, value] of Object.entries(figures)) {
    const zero = MUST_BE_ZERO.some((one) => one === name);
    table.push([name, value, zero ? 0 : ""]);
    if (zero && value !== 0) wrong.push(`${name} is ${value}`);
  }
  table.push(["ticks_per_minute", pace.ticksPerMinute, `>= ${PACE}`]);
  table.push(["longest_tick_ms", pace.longestTick, ""]);
  table.push(["ticker_watched_seconds", pace.seconds, ""]);
  if (pace.seconds < PACED) wrong.push(`void: the ticker was watched for ${pace.seconds} s only`);
  else if (pace.ticksPerMinute < PACE) wrong.push(`the ticker made ${pace.ticksPerMinute} ticks in a minute`);
  if (figures.messages !== figures.acknowledged) wrong.push("messages and acknowledged differ");
  console.log(`\n${faults}\n\n${table}\n\nin ${seconds.toFixed(0)} s\n`);
  return wrong;
}
