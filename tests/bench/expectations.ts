// The figures in the order in which a user meets them, as pairs of "what you do" and "what it takes".
import { type Line, medianOf, OURS } from "./line.ts";
import { figure, withUnit } from "./wording.ts";

export function expectationsOf(lines: readonly Line[]): string[][] {
  const value = (id: string) => {
    const line = lines.find((one) => one.id === id);
    return line && medianOf(line, OURS);
  };
  const pair = (does: string, takes: (...values: number[]) => string, ...ids: string[]) => {
    const values = ids.map(value);
    return values.every((one) => one !== undefined) ? [[does, takes(...values)]] : [];
  };
  const ms = (value: number) => withUnit(value, "ms");
  const rate = (value: number) => withUnit(value, "per second");
  const halfAndMost = (p50: number, p99: number) => `${ms(p50)} for half of them, ${ms(p99)} for 99 of 100`;
  return [
    ...pair("Store a message with SQL", (each) => `${ms(1_000 / each)} per call`, "enqueue 1"),
    ...pair("Store 1,000 messages with one SQL call", (each) => ms(1_000_000 / each), "enqueue 1000"),
    ...pair("Send a message with the client over HTTP", ms, "http dispatch p50"),
    ...pair(
      "Send from 64 callers at a time with one client",
      (all, each) => `${rate(all)}, ${ms(each)} per send`,
      "concurrent sends",
      "concurrent sends p50",
    ),
    ...pair(
      "Wait for the handler to start, worker active, 100 messages per second",
      halfAndMost,
      "active http 100 p50",
      "active http 100 p99",
    ),
    ...pair(
      "Wait for the handler to start, worker active, 5 messages per second",
      halfAndMost,
      "active http 5 p50",
      "active http 5 p99",
    ),
    ...pair("Wait for the handler to start, no worker active", ms, "idle http p50"),
    ...pair(
      "Work off a backlog with 4 workers that claim 100 messages each",
      (deleted, kept) => `${rate(deleted)}; ${rate(kept)} if completed messages are kept, the default`,
      "claim 100 x 4 deleted",
      "claim 100 x 4 kept",
    ),
    ...pair("Poll a queue in which nothing is due, beside a million delayed messages", ms, "empty poll beside delayed"),
    ...pair(
      "Keep a worker waiting for messages",
      (cpu) => `${withUnit(cpu, "ms")} of server CPU per second, ${figure(cpu / 10, "ms")} % of a core`,
      "waiting worker",
    ),
    ...pair("Make the first call of a fresh database session", ms, "first messenger_exchange"),
    ...pair("Make the slowest call of the monitor beside a million kept messages", ms, "monitor"),
  ];
}
