import type { ServiceHistory } from "@/api/types";
import { fullTime } from "@/lib/time";
import { plain } from "@/lib/words";

const HEIGHT = 36;
const WIDTH = 6;

/** One bar a span of time, as high as the share of good checks; where there was none, a dot. */
export function UptimeBars({ name, service }: { name: string; service: ServiceHistory }) {
  const { buckets, uptime } = service;
  const label = uptime === null ? "no checks" : `${(uptime * 100).toFixed(2)} % up`;
  return (
    <svg
      role="img"
      aria-label={`Uptime of ${plain(name)}: ${label}`}
      viewBox={`0 0 ${buckets.length * WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      className="h-9 w-full"
    >
      {buckets.map(({ at, uptime: share, checks }, index) => {
        const height = share === null ? 2 : Math.max(4, share * HEIGHT);
        const fill = share === null ? "var(--line)" : share === 1 ? "var(--good)" : share >= 0.9 ? "var(--warn)" : "var(--danger)";
        return (
          <rect key={at} x={index * WIDTH + 1} y={HEIGHT - height} width={WIDTH - 2} height={height} rx={1} fill={fill}>
            <title>{`${fullTime(Date.parse(at))}: ${share === null ? "no check" : `${(share * 100).toFixed(1)} % of ${checks}`}`}</title>
          </rect>
        );
      })}
    </svg>
  );
}
