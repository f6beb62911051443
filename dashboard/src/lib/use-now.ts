"use client";

import { useEffect, useState, useSyncExternalStore } from "react";

/** The time in ms, told anew every `every` ms. */
export function useNow(every = 15_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

const never = (): (() => void) => () => undefined;

/** Whether this is the browser, which alone knows the person's time zone. */
export function useIsBrowser(): boolean {
  return useSyncExternalStore(
    never,
    () => true,
    () => false,
  );
}
