// Data that stays fresh: asked for again every two seconds while the page is looked at.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Refusal } from "./api.ts";

const EVERY = 2_000; // ms
const WHILE_LOST = 5_000; // ms between two questions nobody answers

let paused = false;
const watchers = new Set<() => void>();

/** Stops or starts the refreshing of the whole page. */
export function setPaused(value: boolean): void {
  paused = value;
  for (const tell of watchers) tell();
}

let lost = false;
const onlookers = new Set<(lost: boolean) => void>();

function setLost(value: boolean): void {
  lost = value;
  for (const tell of onlookers) tell(value);
}

/** Whether the last question was not answered, so that what is shown is old. */
export function useLost(): boolean {
  const [value, set] = useState(lost);
  useEffect(() => {
    onlookers.add(set);
    return () => void onlookers.delete(set);
  }, []);
  return value;
}

export interface Live<T> {
  data: T | undefined;
  error: Refusal | undefined;
  /** When the data came, in milliseconds since 1970. */
  at: number;
  again: () => Promise<void>;
}

/** @param ask asked again whenever `key` changes */
export function useLive<T>(key: string, ask: () => Promise<T>): Live<T> {
  const [state, set] = useState<{ key: string; data?: T; error?: Refusal; at: number }>({ key, at: 0 });
  const asking = useRef(ask);
  asking.current = ask;
  const current = useRef(key);
  current.current = key;
  const turns = useRef({ requested: 0, shown: 0 });

  const again = useCallback(async () => {
    const requested = current.current;
    const turn = ++turns.current.requested;
    // An answer that was overtaken tells how it was before an action, not after.
    const counts = () => requested === current.current && turn > turns.current.shown;
    try {
      const data = await asking.current();
      setLost(false);
      if (!counts()) return;
      turns.current.shown = turn;
      set({ key: requested, data, at: Date.now() });
    } catch (thrown) {
      const error = thrown instanceof Refusal
        ? thrown
        : new Refusal("The dashboard does not answer.", "", "Is npm run dashboard still running?");
      setLost(error.code === "SM_UNAVAILABLE" || error.code === "");
      // What was shown stays, greyed: old figures beat none.
      if (counts()) set((was) => ({ ...(was.key === requested ? was : { at: 0 }), key: requested, error }));
    }
  }, []);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    let over = false;
    const turn = async () => {
      clearTimeout(timer);
      if (!document.hidden) await again();
      if (!over && !paused && !document.hidden) timer = setTimeout(turn, lost ? WHILE_LOST : EVERY);
    };
    turn();
    watchers.add(turn);
    document.addEventListener("visibilitychange", turn);
    return () => {
      over = true;
      clearTimeout(timer);
      watchers.delete(turn);
      document.removeEventListener("visibilitychange", turn);
    };
  }, [key]);

  return {
    data: state.key === key ? state.data : undefined,
    error: state.key === key ? state.error : undefined,
    at: state.at,
    again,
  };
}
