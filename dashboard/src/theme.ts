// The light or dark theme: that of the system, or the one chosen here. Nothing else is stored in the browser.
import { useEffect, useState } from "preact/hooks";

export const THEMES = ["auto", "light", "dark"];
const KEY = "theme";

// localStorage throws if the browser blocks it; the choice then lasts as long as the page.
export function readTheme(): string {
  try {
    const stored = localStorage.getItem(KEY);
    return stored !== null && THEMES.includes(stored) ? stored : "auto";
  } catch {
    return "auto";
  }
}

export function storeTheme(theme: string): void {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // see readTheme
  }
}

/** A number that changes with the colors, for drawings outside the style sheet. */
export function useColors(): number {
  const [changes, set] = useState(0);
  useEffect(() => {
    const changed = () => set((n) => n + 1);
    const system = matchMedia("(prefers-color-scheme: dark)");
    const observer = new MutationObserver(changed);
    observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    system.addEventListener("change", changed);
    return () => {
      observer.disconnect();
      system.removeEventListener("change", changed);
    };
  }, []);
  return changes;
}
