"use client";

import { setNonce } from "get-nonce";

/** Tells the style that dialogs add (react-remove-scroll) the page's nonce, which the policy asks of every style. */
export function Nonce({ value }: { value: string }): null {
  if (typeof window !== "undefined" && value) setNonce(value);
  return null;
}
