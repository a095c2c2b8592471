// Data that stays fresh: requested again every two seconds while the page is visible.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./api.ts";

const EVERY = 2_000; // ms
const WHILE_DISCONNECTED = 5_000; // ms

let paused = false;
const turns = new Set<() => void>();

/** Pauses or resumes the refreshing of the whole page. */
export function setPaused(value: boolean): void {
  paused = value;
  for (const turn of turns) turn();
}

let disconnected = false;
const listeners = new Set<(disconnected: boolean) => void>();

function setDisconnected(value: boolean): void {
  disconnected = value;
  for (const notify of listeners) notify(value);
}

/** Whether the last request got no reply from the project, so that the page shows old data. */
export function useDisconnected(): boolean {
  const [value, set] = useState(disconnected);
  useEffect(() => {
    listeners.add(set);
    return () => void listeners.delete(set);
  }, []);
  return value;
}

export interface Live<T> {
  data: T | undefined;
  error: ApiError | undefined;
  /** When the data arrived, in milliseconds since 1970. */
  at: number;
  refresh: () => Promise<void>;
}

/** @param load called at once, every two seconds, and whenever `key` changes */
export function useLive<T>(key: string, load: () => Promise<T>): Live<T> {
  const [state, set] = useState<{ key: string; data?: T; error?: ApiError; at: number }>({ key, at: 0 });
  const loader = useRef(load);
  loader.current = load;
  const current = useRef(key);
  current.current = key;
  const numbers = useRef({ requested: 0, shown: 0 });

  const refresh = useCallback(async () => {
    const requested = current.current;
    const number = ++numbers.current.requested;
    // A reply that a later one has overtaken may show the state before an action.
    const isNewest = () => requested === current.current && number > numbers.current.shown;
    try {
      const data = await loader.current();
      setDisconnected(false);
      if (!isNewest()) return;
      numbers.current.shown = number;
      set({ key: requested, data, at: Date.now() });
    } catch (thrown) {
      const error = thrown instanceof ApiError
        ? thrown
        : new ApiError("The dashboard's server cannot be reached.", "", "Is npm run dashboard still running?");
      setDisconnected(error.code === "SM_UNAVAILABLE" || error.code === "");
      // The old data stays, greyed.
      if (isNewest()) set((was) => ({ ...(was.key === requested ? was : { at: 0 }), key: requested, error }));
    }
  }, []);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    let isUnmounted = false;
    const turn = async () => {
      clearTimeout(timer);
      if (!document.hidden) await refresh();
      if (!isUnmounted && !paused && !document.hidden) {
        timer = setTimeout(turn, disconnected ? WHILE_DISCONNECTED : EVERY);
      }
    };
    turn();
    turns.add(turn);
    document.addEventListener("visibilitychange", turn);
    return () => {
      isUnmounted = true;
      clearTimeout(timer);
      turns.delete(turn);
      document.removeEventListener("visibilitychange", turn);
    };
  }, [key]);

  return {
    data: state.key === key ? state.data : undefined,
    error: state.key === key ? state.error : undefined,
    at: state.at,
    refresh,
  };
}
