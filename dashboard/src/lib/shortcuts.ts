"use client";

import { useEffect, useRef, useSyncExternalStore } from "react";

/** Keys of one character can be switched off (WCAG 2.2, 2.1.4); the switch is in the settings. */
const STORE = "shortcuts";
const CHANGED = "shortcuts-changed";

export function useShortcutsOn(): boolean {
  return useSyncExternalStore(
    (listener) => {
      window.addEventListener(CHANGED, listener);
      return () => window.removeEventListener(CHANGED, listener);
    },
    () => localStorage.getItem(STORE) !== "off",
    () => false,
  );
}

export function setShortcuts(on: boolean): void {
  localStorage.setItem(STORE, on ? "on" : "off");
  window.dispatchEvent(new Event(CHANGED));
}

/** Follow keys while this is on the page: not in a field, not with a modifier, not below an open dialog. */
export function useShortcuts(keys: Record<string, () => void>): void {
  const on = useShortcutsOn();
  const newest = useRef(keys);
  useEffect(() => {
    newest.current = keys;
  });
  useEffect(() => {
    if (!on) return;
    function press(event: KeyboardEvent): void {
      const target = event.target as HTMLElement;
      if (event.metaKey || event.ctrlKey || event.altKey || event.repeat) return;
      if (target.closest("input, textarea, select, [contenteditable]") || document.querySelector("[role=dialog]")) return;
      const work = newest.current[event.key];
      if (!work) return;
      event.preventDefault();
      work();
    }
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [on]);
}
