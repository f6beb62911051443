import { useSyncExternalStore } from "react";

/**
 * How we stand to the API. `live`: its event stream is open, so what is shown changes by itself. `hasSession`: we are
 * logged in, as far as we were told.
 */
export interface Connection {
  api: "unknown" | "up" | "down";
  /** Since when it is up or down, in ms. */
  since: number;
  /** Why it is down. */
  reason: string;
  live: boolean;
  hasSession: boolean;
}

const INITIAL: Connection = { api: "unknown", since: 0, reason: "", live: false, hasSession: true };

const NAMES = ["api", "live", "reason", "hasSession"] as const;

let current = INITIAL;
const listeners = new Set<() => void>();

function become(next: Partial<Connection>): void {
  const merged = { ...current, ...next };
  if (NAMES.every((name) => merged[name] === current[name])) return;
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

export function sessionIs(hasSession: boolean): void {
  become({ hasSession });
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
