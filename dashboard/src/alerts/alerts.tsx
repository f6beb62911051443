"use client";

import { Bell, Info, OctagonAlert, TriangleAlert, type LucideIcon } from "lucide-react";
import { useState } from "react";
import type { Alert } from "@/api/types";
import { useList } from "@/live/use-api";
import { More, Page, Shown } from "@/ui/page";
import { Card, Chip, Choice, cx, Empty } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";
import { SilenceButton, Silences } from "./silences";

type Level = "INFO" | "WARNING" | "CRITICAL";

const LEVELS: readonly (readonly [Level | "", string])[] = [
  ["", "All"],
  ["CRITICAL", "Critical"],
  ["WARNING", "Warning"],
  ["INFO", "Info"],
];

const LOOKS: Record<string, readonly [icon: LucideIcon, look: string, word: string]> = {
  CRITICAL: [OctagonAlert, "text-danger", "Critical"],
  WARNING: [TriangleAlert, "text-warn", "Warning"],
  INFO: [Info, "text-soft", "Info"],
};

const STATES: Record<Alert["state"], string> = {
  sent: "Mailed",
  spooled: "Waits to be mailed",
  suppressed: "Recorded only",
  failed: "Could not be mailed",
};

/** What was raised on this node, and what became of each. */
export function Alerts() {
  const [level, setLevel] = useState<Level | "">("");
  const list = useList<Alert>("/api/alerts", { level });
  return (
    <Page title="Alerts" side={<Choice label="Level" value={level} options={LEVELS} onChange={setLevel} />}>
      <Silences />
      <Shown of={list}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty icon={Bell} title="No alerts">
              When a service falls silent, a sync says no or an outcome is unknown, you read it here. To get it by mail too,
              set <code>ALERTS_ENABLED</code> and <code>ALERT_SMTP_HOST</code>.
            </Empty>
          ) : (
            <>
              <Card>
                <ul className="divide-y divide-line">
                  {items.map((alert) => (
                    <li key={alert.id}>
                      <Line alert={alert} />
                    </li>
                  ))}
                </ul>
              </Card>
              <More more={list.more} isAll={list.isAll} shown={items.length} />
            </>
          )
        }
      </Shown>
    </Page>
  );
}

function Line({ alert }: { alert: Alert }) {
  const [Icon, look, word] = LOOKS[alert.level] ?? [Info, "text-soft", alert.level];
  return (
    <div className="flex items-start gap-3 px-4 py-3.5">
      <Icon aria-hidden className={cx("mt-0.5 size-5 shrink-0", look)} />
      <div className="min-w-0 flex-1">
        <p className="flex flex-wrap items-baseline justify-between gap-x-4">
          <span className="font-medium">
            <span className="sr-only">{word}: </span>
            <Inert text={alert.title} />
            {alert.repeats > 0 && <span className="font-normal text-soft"> · {alert.repeats + 1} times</span>}
          </span>
          <span className="text-sm text-soft">
            <Time at={alert.at} />
          </span>
        </p>
        <p className="mt-0.5 text-[0.9375rem] text-soft">
          <Inert text={alert.message} />
        </p>
        <p className="mt-2 flex flex-wrap items-center gap-2 text-sm text-soft">
          <Chip tone={alert.state === "failed" ? "danger" : "plain"}>{STATES[alert.state]}</Chip>
          {alert.source}
          <span className="ml-auto">
            <SilenceButton alert={alert} />
          </span>
        </p>
      </div>
    </div>
  );
}
