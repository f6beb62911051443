"use client";

import { Activity, RefreshCw } from "lucide-react";
import dynamic from "next/dynamic";
import { useState } from "react";
import { call, withQuery } from "@/api/client";
import type { Health as Answer, HealthHistory, ServiceHistory, ServiceStatus, Window } from "@/api/types";
import { useAttempt } from "@/approvals/answer";
import { milliseconds } from "@/lib/time";
import { plain } from "@/lib/words";
import { useApi } from "@/live/use-api";
import { Page, Shown } from "@/ui/page";
import { Button, Card, Chip, Choice, Empty, Notice, Section, Skeleton, type Tone } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";
import { UptimeBars } from "./uptime-bars";

/** Of its own file: the chart library is large, and no other page needs it. */
const LatencyChart = dynamic(() => import("./latency-chart"), { ssr: false, loading: () => <Skeleton lines={6} /> });

const TONES: Record<ServiceStatus, Tone> = { healthy: "good", degraded: "warn", down: "danger", unknown: "plain" };
const WORDS: Record<ServiceStatus, string> = {
  healthy: "All is well",
  degraded: "Something wobbles",
  down: "Something is down",
  unknown: "Not known yet",
};
const WINDOWS: readonly (readonly [Window, string])[] = [
  ["24h", "24 hours"],
  ["7d", "7 days"],
  ["30d", "30 days"],
];

/** The services that the health monitor watches: now, and over days. */
export function Health() {
  const [window, setWindow] = useState<Window>("24h");
  const now = useApi<Answer>("/api/health/detailed");
  const history = useApi<HealthHistory>(withQuery("/api/health/history", { window }), { refreshInterval: 60_000 });
  const { busy, problem, run } = useAttempt();

  async function check(): Promise<void> {
    await run(() => call("GET", "/api/health/detailed?refresh=true"));
    await now.refresh();
  }

  return (
    <Page
      title="Health"
      lead={now.data && <>{WORDS[now.data.status]}{now.data.checked_at && <>, checked <Time at={now.data.checked_at} /></>}</>}
      side={
        <Button icon={RefreshCw} busy={busy} onClick={() => void check()}>
          {busy ? "Checking" : "Check now"}
        </Button>
      }
    >
      {problem && (
        <div className="mb-4">
          <Notice tone="danger" live="assertive">
            {problem.message}
          </Notice>
        </div>
      )}
      <Shown of={now}>
        {({ services }) =>
          Object.keys(services).length === 0 ? (
            <Empty icon={Activity} title="Nothing is watched">
              The health monitor watches the API, the dashboard and Odoo, where they are set up.
            </Empty>
          ) : (
            <Card>
              <ul className="divide-y divide-line">
                {Object.entries(services).map(([name, service]) => (
                  <li key={name} className="px-4 py-3.5">
                    <div className="flex flex-wrap items-center justify-between gap-2">
                      <p className="font-semibold">{plain(name)}</p>
                      <Chip tone={TONES[service.status]}>{plain(service.status)}</Chip>
                    </div>
                    <p className="mt-0.5 text-sm text-soft">
                      {[
                        service.latency_ms !== null && `answers in ${milliseconds(service.latency_ms)}`,
                        service.uptime_24h !== null && `up ${service.uptime_24h.toFixed(1)} % of the last 24 hours`,
                      ]
                        .filter(Boolean)
                        .join(", ")}
                      {service.error && <Inert text={service.error} className="block" />}
                    </p>
                  </li>
                ))}
              </ul>
            </Card>
          )
        }
      </Shown>
      <Section title="Over time" side={<Choice label="Window" value={window} options={WINDOWS} onChange={setWindow} />}>
        <Shown of={history}>{(told) => <OverTime history={told} />}</Shown>
      </Section>
    </Page>
  );
}

function OverTime({ history }: { history: HealthHistory }) {
  const watched = Object.entries(history.services).filter(([, { buckets }]) => buckets.some(({ checks }) => checks > 0));
  if (watched.length === 0) {
    return (
      <Empty icon={Activity} title="No check in this time">
        The health monitor checks every 30 seconds while the node runs; its history builds up here.
      </Empty>
    );
  }
  return (
    <div className="space-y-4">
      {watched.map(([name, service]) => (
        <Service key={name} name={name} service={service} window={history.window} />
      ))}
    </div>
  );
}

function Service({ name, service, window }: { name: string; service: ServiceHistory; window: Window }) {
  return (
    <Card className="px-4 py-4">
      <div className="mb-3 flex items-baseline justify-between gap-3">
        <h3 className="font-semibold">{plain(name)}</h3>
        {service.uptime !== null && <p className="text-sm text-soft">{(service.uptime * 100).toFixed(2)} % up</p>}
      </div>
      <UptimeBars name={name} service={service} />
      <LatencyChart name={plain(name)} service={service} window={window} />
    </Card>
  );
}
