// A schedule while it is written: what its form holds, and what the edge functions are asked with.
import { type Schedule, withPayload } from "./api.ts";
import { pretty } from "./format.ts";

export interface Draft {
  name: string;
  type: string;
  kind: "cron" | "interval" | "at";
  cron: string;
  seconds: string;
  at: string;
  timezone: string;
  queue: string;
  misfire: string;
  overlap: string;
  dstGap: string;
  dstOverlap: string;
  payload: string;
}

const HOUR = 3_600_000; // ms

/** What a form begins with: a stored schedule, or what a new one is likely to be. */
export function draftOf(stored?: Schedule): Draft {
  const { cron, interval, at } = stored?.schedule_config ?? {};
  return {
    name: stored?.name ?? "",
    type: stored?.message_type ?? "",
    kind: interval !== undefined ? "interval" : at !== undefined ? "at" : "cron",
    cron: cron ?? "0 9 * * mon-fri",
    seconds: String((interval ?? 60_000) / 1_000),
    at: at ?? new Date(Math.ceil(Date.now() / HOUR) * HOUR).toISOString(),
    timezone: stored?.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
    queue: stored?.queue_name ?? "",
    misfire: stored?.misfire ?? "fire_once",
    overlap: stored?.overlap ?? "allow",
    dstGap: stored?.dst_gap ?? "run_after",
    dstOverlap: stored?.dst_overlap ?? "first",
    payload: stored ? pretty(stored.body) : "{}",
  };
}

/** What the preview is asked with. */
export function previewOf(draft: Draft, stored?: Schedule): Record<string, string> {
  const { timezone, dstGap, dstOverlap } = draft;
  const requested = {
    ...whenOf(draft, stored),
    timezone,
    dstGap,
    dstOverlap,
    startsAt: stored?.starts_at,
    endsAt: stored?.ends_at,
  };
  return Object.fromEntries(
    Object.entries(requested).flatMap(([name, value]) =>
      value === null || value === undefined ? [] : [[name, `${value}`]]
    ),
  );
}

/** What saves it, as JSON. A saved schedule is replaced whole: what the form does not show is sent as it was. */
export function requestOf(draft: Draft, stored?: Schedule): string {
  const { type, timezone, queue, misfire, overlap, dstGap, dstOverlap, payload } = draft;
  return withPayload(payload, {
    ...whenOf(draft, stored),
    type,
    timezone,
    misfire,
    overlap,
    dstGap,
    dstOverlap,
    queue: queue || undefined,
    transport: stored?.transport_name,
    headers: stored?.headers,
    enabled: stored?.enabled,
    maxRuns: stored?.max_runs ?? undefined,
    startsAt: stored?.starts_at ?? undefined,
    endsAt: stored?.ends_at ?? undefined,
    misfireGrace: stored?.misfire_grace_ms,
    catchUpLimit: stored?.catch_up_limit,
    jitter: stored?.jitter_ms,
  });
}

function whenOf({ kind, cron, seconds, at }: Draft, stored?: Schedule): Record<string, string | number | undefined> {
  if (kind === "cron") return { cron };
  if (kind === "at") return { at };
  return { interval: Number(seconds) * 1_000, startAt: stored?.schedule_config.startAt };
}
