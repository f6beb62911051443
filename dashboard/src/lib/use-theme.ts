"use client";

import { useSyncExternalStore } from "react";
import { THEME_COOKIE, themeOf, type Theme } from "./theme";

const CHANGED = "theme-changed";

export function useTheme(): Theme {
  return useSyncExternalStore(
    (listener) => {
      window.addEventListener(CHANGED, listener);
      return () => window.removeEventListener(CHANGED, listener);
    },
    () => themeOf(document.documentElement.dataset.theme),
    () => "auto",
  );
}

export function chooseTheme(theme: Theme): void {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.cookie = `${THEME_COOKIE}=${theme}; Path=/; Max-Age=31536000; SameSite=Strict`;
  window.dispatchEvent(new Event(CHANGED));
}
