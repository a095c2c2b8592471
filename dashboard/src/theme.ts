// Light or dark: as the machine has it, or as chosen here. The choice is all that the browser keeps.
import { useEffect, useState } from "preact/hooks";

export const THEMES = ["auto", "light", "dark"];
const KEY = "theme";

// A browser that keeps nothing for this page throws; the choice then lasts as long as the page.
export function readTheme(): string {
  try {
    const kept = localStorage.getItem(KEY);
    return kept !== null && THEMES.includes(kept) ? kept : "auto";
  } catch {
    return "auto";
  }
}

export function keepTheme(theme: string): void {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // see readTheme
  }
}

/** A number that changes with the colours, for what is not drawn by the style sheet. */
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
