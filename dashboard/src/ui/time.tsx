"use client";

import { clock, fullTime, relative } from "@/lib/time";
import { useNow } from "@/lib/use-now";

/** A time in the person's own zone: how long ago, and on demand exactly when. */
export function Time({ at, exact = false }: { at: string | number; exact?: boolean }) {
  const now = useNow();
  const moment = typeof at === "number" ? at : Date.parse(at);
  if (Number.isNaN(moment)) return <span>{at}</span>;
  return (
    <time dateTime={new Date(moment).toISOString()} title={fullTime(moment)} className="whitespace-nowrap">
      {exact ? fullTime(moment) : relative(moment, now)}
    </time>
  );
}

export function Clock({ at }: { at: number }) {
  return (
    <time dateTime={new Date(at).toISOString()} title={fullTime(at)}>
      {clock(at)}
    </time>
  );
}
