"use client";

import { ArrowRight, CircleCheck, CloudOff, Send, type LucideIcon } from "lucide-react";
import Link from "next/link";
import type { ReactNode } from "react";
import type { Action, Alert, Approval, Health, Platinum, SyncStatus } from "@/api/types";
import { ActionRow } from "@/actions/row";
import { Row } from "@/approvals/list";
import { byRiskAndAge } from "@/approvals/risk";
import { day } from "@/lib/time";
import { useIsBrowser, useNow } from "@/lib/use-now";
import { count, plain } from "@/lib/words";
import { isAway } from "@/api/client";
import { useApi } from "@/live/use-api";
import { Page, Shown } from "@/ui/page";
import { Card, cx, Empty, Section, Skeleton } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";

const SHOWN = 5;
const DAY = 86_400_000;

interface Items<Item> {
  items: Item[];
  next_cursor: string | null;
}

/** What waits for me, what is wrong, what was done for me: the whole state of the node in one look. */
export function Today() {
  const now = useNow(60_000);
  const isBrowser = useIsBrowser();
  return (
    <Page title="Today" lead={isBrowser ? day(now) : "\u00a0"}>
      <div className="grid gap-x-10 gap-y-8 [&>*]:min-w-0 [&>section]:mt-0 xl:grid-cols-[3fr_2fr]">
        <Waiting />
        <Wrong />
        <Done />
        <Numbers />
      </div>
    </Page>
  );
}

function Waiting() {
  const loaded = useApi<Items<Approval>>("/api/approvals?limit=100");
  return (
    <Section title="Waits for you" side={<Go to="/approvals">All approvals</Go>}>
      <Shown of={loaded}>
        {({ items, next_cursor: next }) =>
          items.length === 0 ? (
            <Empty icon={CircleCheck} title="Nothing waits for you">
              New drafts appear here by themselves. Until then there is nothing to do.
            </Empty>
          ) : (
            <Card>
              <ul className="divide-y divide-line">
                {byRiskAndAge(items)
                  .slice(0, SHOWN)
                  .map((approval) => (
                    <li key={approval.id}>
                      <Row approval={approval} />
                    </li>
                  ))}
              </ul>
              {items.length > SHOWN && (
                <p className="border-t border-line px-4 py-3 text-sm text-soft">and {next && "at least "}{items.length - SHOWN} more</p>
              )}
            </Card>
          )
        }
      </Shown>
    </Section>
  );
}

function Done() {
  const loaded = useApi<Items<Action>>("/api/actions?limit=8");
  return (
    <Section title="Done for you" side={<Go to="/actions">All actions</Go>}>
      <Shown of={loaded}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty icon={Send} title="Nothing was sent yet">
              What you approve is carried out once, and its receipt is kept here.
            </Empty>
          ) : (
            <Card>
              <ul className="divide-y divide-line">
                {items.map((action) => (
                  <li key={action.action_id}>
                    <ActionRow action={action} />
                  </li>
                ))}
              </ul>
            </Card>
          )
        }
      </Shown>
    </Section>
  );
}

interface Trouble {
  key: string;
  to: string;
  words: ReactNode;
  isGrave: boolean;
}

function Wrong() {
  const now = useNow(60_000);
  const platinum = useApi<Platinum>("/api/platinum/status");
  const health = useApi<Health>("/api/health/detailed");
  const sync = useApi<SyncStatus>("/api/vault/sync/status");
  const alerts = useApi<Items<Alert>>("/api/alerts?limit=50");
  const unknown = useApi<Items<Action>>("/api/actions?state=unknown&limit=50");
  const asked = [platinum, health, sync, alerts, unknown];
  const found: Trouble[] = [
    ...asked.flatMap(({ problem }, index) => (problem && !isAway(problem) ? [{ key: `asked-${index}`, to: "/settings", isGrave: true, words: problem.message }] : [])),
    ...(unknown.data?.items ?? []).map((action) => ({
      key: action.action_id,
      to: "/actions",
      isGrave: true,
      words: "Nobody knows whether an action happened. Only you can settle it.",
    })),
    ...modulesOf(platinum.data),
    ...Object.entries(health.data?.services ?? {})
      .filter(([, service]) => service.status === "down" || service.status === "degraded")
      .map(([name, service]) => ({
        key: `health-${name}`,
        to: "/health",
        isGrave: service.status === "down",
        words: `${plain(name)} is ${service.status}${service.error ? `: ${service.error}` : ""}`,
      })),
    ...(sync.data?.state === "offline" ? [{ key: "sync", to: "/sync", isGrave: false, words: "The vault's remote can't be reached; what changed here waits." }] : []),
    ...(platinum.data?.conflicts ? [{ key: "conflicts", to: "/sync", isGrave: false, words: `${count(platinum.data.conflicts, "version")} yielded in a merge and ${platinum.data.conflicts === 1 ? "is" : "are"} kept for you.` }] : []),
    ...(alerts.data?.items ?? [])
      .filter((alert) => alert.level !== "INFO" && Date.parse(alert.at) > now - DAY)
      .slice(0, 4)
      .map((alert) => ({
        key: alert.id,
        to: "/alerts",
        isGrave: alert.level === "CRITICAL",
        words: (
          <>
            <Inert text={alert.title} /> · <Time at={alert.at} />
          </>
        ),
      })),
  ];
  return (
    <Section title="What is wrong">
      <Shown of={platinum}>
        {() =>
          found.length === 0 && asked.some(({ data }) => data === undefined) ? (
            <Skeleton lines={2} />
          ) : found.length === 0 ? (
            <Card className="flex items-center gap-3 px-4 py-4">
              <CircleCheck aria-hidden className="size-5 text-good" />
              All is well.
            </Card>
          ) : (
            <Card>
              <ul className="divide-y divide-line">
                {found.map((trouble) => (
                  <li key={trouble.key}>
                    <Link href={trouble.to} prefetch={false} className="flex items-start gap-3 px-4 py-3.5 text-[0.9375rem] leading-snug outline-offset-[-2px] hover:bg-sunk">
                      <Dot grave={trouble.isGrave} />
                      <span className="min-w-0 [overflow-wrap:anywhere]">{trouble.words}</span>
                    </Link>
                  </li>
                ))}
              </ul>
            </Card>
          )
        }
      </Shown>
    </Section>
  );
}

function modulesOf(platinum: Platinum | undefined): Trouble[] {
  return Object.entries(platinum?.modules ?? {})
    .filter(([, module]) => !module.ok)
    .map(([name, module]) => ({ key: name, to: "/settings", isGrave: true, words: `${plain(name)}: ${module.detail}` }));
}

function Dot({ grave }: { grave: boolean }) {
  return (
    <span className={cx("mt-1.5 size-2 shrink-0 rounded-full", grave ? "bg-danger" : "bg-warn")}>
      <span className="sr-only">{grave ? "Grave" : "Worth a look"}</span>
    </span>
  );
}

function Numbers() {
  const loaded = useApi<Platinum>("/api/platinum/status");
  return (
    <Section title="In the house" side={<Go to="/tasks">All tasks</Go>}>
      <Shown of={loaded}>
        {({ tasks, agent, version }) => {
          const total = (stage: string): number => Object.values(tasks[stage] ?? {}).reduce((sum, number) => sum + number, 0);
          return (
            <>
              <dl className="grid grid-cols-3 gap-3">
                <Figure label="to do" value={total("needs_action")} />
                <Figure label="in progress" value={total("in_progress")} />
                <Figure label="done" value={total("done")} />
              </dl>
              <p className="mt-3 flex items-center gap-2 text-sm text-soft">
                {agent === "cloud" && <CloudOff aria-hidden className="size-4" />}
                This is the {agent === "cloud" ? "Cloud" : "Local"} node, version {version}.
              </p>
            </>
          );
        }}
      </Shown>
    </Section>
  );
}

function Figure({ label, value }: { label: string; value: number }) {
  return (
    <div className="flex flex-col-reverse rounded-card border border-line bg-sheet px-4 py-3">
      <dt className="text-sm text-soft">{label}</dt>
      <dd className="text-2xl font-semibold tracking-tight">{value}</dd>
    </div>
  );
}

function Go({ to, children }: { to: string; children: string }) {
  const Icon: LucideIcon = ArrowRight;
  return (
    <Link href={to} prefetch={false} className="inline-flex min-h-8 items-center gap-1.5 text-sm text-accent hover:underline">
      {children} <Icon aria-hidden className="size-4" />
    </Link>
  );
}
