// The view that the hash of the address names, with its query.
import { useEffect, useState } from "preact/hooks";

export interface Route {
  path: string[];
  query: Record<string, string>;
}

export function readRoute(): Route {
  const [path, query = ""] = location.hash.slice(1).split("?");
  return {
    path: path.split("/").filter(Boolean).map(decoded),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

// An address that was cut within an encoded character stays as it is, and names no object.
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function linkTo(path: (string | number)[], query: Record<string, string | undefined> = {}): string {
  const requested = Object.entries(query).filter((pair): pair is [string, string] => Boolean(pair[1]));
  const search = requested.length ? `?${new URLSearchParams(requested)}` : "";
  return `#/${path.map((part) => encodeURIComponent(part)).join("/")}${search}`;
}

export function go(path: (string | number)[], query?: Record<string, string | undefined>): void {
  location.hash = linkTo(path, query);
}

export function useRoute(): Route {
  const [route, set] = useState(readRoute);
  useEffect(() => {
    const changed = () => set(readRoute());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}
