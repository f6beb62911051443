"use client";

import { Area, AreaChart, CartesianGrid, ResponsiveContainer, Tooltip, XAxis, YAxis } from "recharts";
import type { ServiceHistory, Window } from "@/api/types";
import { clock, day, fullTime, milliseconds } from "@/lib/time";

const SPARSE = 12;

interface Point {
  at: number;
  median: number | null;
  slow: number | null;
}

/** The median of what good checks took, and what 95 of 100 stayed below. */
export default function LatencyChart({ name, service, window }: { name: string; service: ServiceHistory; window: Window }) {
  const points: Point[] = service.buckets.map((bucket) => ({
    at: Date.parse(bucket.at),
    median: bucket.latency_ms,
    slow: bucket.latency_p95_ms,
  }));
  const known = points.filter(({ median }) => median !== null);
  if (known.length === 0) return null;
  const isSparse = known.length <= SPARSE; // a line needs two points
  const worst = Math.max(...known.map(({ slow, median }) => slow ?? median ?? 0));
  return (
    <figure className="mt-5">
      <figcaption className="mb-2 text-sm text-soft">
        Latency: the median, and above it the 95th percentile, {milliseconds(worst)} at the most
      </figcaption>
      <div role="img" aria-label={`Latency of ${name} over time, ${milliseconds(worst)} at the most`} className="h-44">
        <ResponsiveContainer width="100%" height="100%">
          <AreaChart data={points} margin={{ top: 4, right: 4, bottom: 0, left: 0 }} accessibilityLayer={false}>
            <CartesianGrid vertical={false} stroke="var(--line)" />
            <XAxis
              dataKey="at"
              type="number"
              scale="time"
              domain={["dataMin", "dataMax"]}
              tickFormatter={window === "24h" ? clock : day}
              tick={{ fill: "var(--soft)", fontSize: 12 }}
              stroke="var(--line)"
              minTickGap={40}
            />
            <YAxis width={56} tickFormatter={milliseconds} tick={{ fill: "var(--soft)", fontSize: 12 }} stroke="none" />
            <Tooltip content={<Told />} isAnimationActive={false} />
            <Area dataKey="slow" stroke="var(--warn)" strokeDasharray="3 3" fill="none" isAnimationActive={false} dot={isSparse} />
            <Area dataKey="median" stroke="var(--accent)" strokeWidth={2} fill="var(--accent-soft)" isAnimationActive={false} dot={isSparse} />
          </AreaChart>
        </ResponsiveContainer>
      </div>
    </figure>
  );
}

function Told({ active, payload }: { active?: boolean; payload?: readonly { payload: Point }[] }) {
  const point = payload?.[0]?.payload;
  if (!active || !point) return null;
  return (
    <div className="rounded-lg border border-line bg-sheet px-3 py-2 text-sm shadow-lg">
      <p className="text-soft">{fullTime(point.at)}</p>
      <p>median {point.median === null ? "not known" : milliseconds(point.median)}</p>
      <p>95 % below {point.slow === null ? "not known" : milliseconds(point.slow)}</p>
    </div>
  );
}
