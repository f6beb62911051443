import { useSyncExternalStore } from "react";

/** How we stand to the API. `live`: its event stream is open, so what is shown changes by itself. */
export interface Connection {
  api: "unknown" | "up" | "down";
  /** Since when it is up or down, in ms. */
  since: number;
  /** Why it is down. */
  reason: string;
  live: boolean;
}

const INITIAL: Connection = { api: "unknown", since: 0, reason: "", live: false };

let current = INITIAL;
const listeners = new Set<() => void>();

function become(next: Partial<Connection>): void {
  const merged = { ...current, ...next };
  if (merged.api === current.api && merged.live === current.live && merged.reason === current.reason) return;
  current = merged;
  for (const listener of listeners) listener();
}

export function apiIsUp(): void {
  if (current.api !== "up") become({ api: "up", since: Date.now(), reason: "" });
}

export function apiIsDown(reason: string): void {
  become({ api: "down", since: current.api === "down" ? current.since : Date.now(), reason });
}

export function streamIs(live: boolean): void {
  become({ live });
}

export function useConnection(): Connection {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => current,
    () => INITIAL,
  );
}
