// The report of the soak, and its errors.
import { newTable } from "../../terminal.ts";
import { SOAK_FAULTS } from "./faults.ts";
import type { SoakResult } from "./soak.ts";
import { MUST_BE_ZERO } from "./figures.ts";

/** With fewer lost wake-ups than this the run proves nothing about them. */
const MIN_WAKEUPS_LOST = 5;
/** Minimum ticks per minute. */
const MIN_PACE = 55;
/** With fewer seconds of ticks the run proves nothing about their pace. */
const MIN_SECONDS = 20;

/** Prints the faults and the figures; returns the errors, one sentence each. */
export function printSoak({ figures, injected, pace, wakeups, unanswered, seconds }: SoakResult): string[] {
  const wrong: string[] = [];
  const faults = newTable(["fault", "", "injected", "in flight"], 2);
  for (const fault of SOAK_FAULTS) {
    const effective = injected.filter((one) => one.fault === fault && one.held > 0);
    faults.push([fault.id, fault.what, effective.length, effective.reduce((sum, { held }) => sum + held, 0)]);
    if (effective.length === 0) wrong.push(`void: no message was in flight at "${fault.what}"`);
  }
  faults.push(["F9", "wake-ups lost, half of them", wakeups.dropped, ""]);
  faults.push(["F5", "calls of producers without a reply", unanswered, ""]);
  if (wakeups.dropped < MIN_WAKEUPS_LOST) wrong.push(`void: only ${wakeups.dropped} wake-ups were lost`);

  const table = newTable(["figure", "", "must be"], 1);
  for (const [name, value] of Object.entries(figures)) {
    const zero = MUST_BE_ZERO.some((one) => one === name);
    table.push([name, value, zero ? 0 : ""]);
    if (zero && value !== 0) wrong.push(`${name} is ${value}`);
  }
  table.push(["ticks_per_minute", pace.ticksPerMinute, `>= ${MIN_PACE}`]);
  table.push(["longest_tick_ms", pace.longestTick, ""]);
  table.push(["ticker_watched_seconds", pace.seconds, ""]);
  if (pace.seconds < MIN_SECONDS) wrong.push(`void: the ticker was measured for ${pace.seconds} s only`);
  else if (pace.ticksPerMinute < MIN_PACE) wrong.push(`the ticker made ${pace.ticksPerMinute} ticks per minute`);
  if (figures.messages !== figures.acknowledged) wrong.push("the numbers of messages and acknowledged ids differ");
  console.log(`\n${faults}\n\n${table}\n\nin ${seconds.toFixed(0)} s\n`);
  return wrong;
}
