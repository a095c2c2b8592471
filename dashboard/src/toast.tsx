// Short notifications at the edge of the page, read aloud by screen readers.
import { useEffect, useState } from "preact/hooks";

interface Notification {
  id: number;
  text: string;
  isBad: boolean;
}

const SHOWN_FOR = 6_000; // ms
let show: (news: Notification) => void = () => {};
let last = 0;

export function toast(text: string, isBad = false): void {
  show({ id: ++last, text, isBad });
}

export function Toasts() {
  const [news, set] = useState<Notification[]>([]);
  useEffect(() => {
    show = (item) => {
      set((all) => [...all.slice(-2), item]);
      setTimeout(() => set((all) => all.filter(({ id }) => id !== item.id)), SHOWN_FOR);
    };
  }, []);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {news.map(({ id, text, isBad }) => <p key={id} class={isBad ? "bad" : "good"}>{text}</p>)}
    </div>
  );
}
