// The values of the schedule form, and the requests that are made from them.
import type { Schedule } from "../../shared/operators/schedules.ts";
import { withPayload } from "./api.ts";
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

/** The initial values: those of a stored schedule, or defaults for a new one. */
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

/** The query of the preview. */
export function previewOf(draft: Draft, stored?: Schedule): Record<string, string> {
  const { timezone, dstGap, dstOverlap } = draft;
  const query = {
    ...whenOf(draft, stored),
    timezone,
    dstGap,
    dstOverlap,
    startsAt: stored?.starts_at,
    endsAt: stored?.ends_at,
  };
  return Object.fromEntries(
    Object.entries(query).flatMap(([name, value]) => value === null || value === undefined ? [] : [[name, `${value}`]]),
  );
}

/** The request that saves it, as JSON. It replaces the whole schedule, so the other stored fields are sent as well. */
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
