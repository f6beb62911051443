"use client";

import { AlertTriangle, CheckCheck, Inbox, Mail, OctagonAlert } from "lucide-react";
import Link from "next/link";
import { useParams } from "next/navigation";
import { useState } from "react";
import type { Approval } from "@/api/types";
import { duration } from "@/lib/time";
import { useShortcuts } from "@/lib/shortcuts";
import { actionName, count } from "@/lib/words";
import { useList } from "@/live/use-api";
import { More, Page, Shown } from "@/ui/page";
import { Button, Card, Chip, Choice, cx, Empty } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";
import { Batch } from "./batch";
import { about, byRiskAndAge, isLowRisk, riskOf, toWhom, type Risk } from "./risk";
import { useIsCloud } from "./signed";

type Show = "waiting" | "snoozed" | "superseded";

const SHOWS: readonly (readonly [Show, string])[] = [
  ["waiting", "Waiting"],
  ["snoozed", "Snoozed"],
  ["superseded", "Drafted anew"],
];

const GROUPS: readonly (readonly [Risk, string])[] = [
  ["danger", "Look closely"],
  ["look", "Look first"],
  ["calm", "Routine"],
];

/** What waits for an answer, by risk and age. */
export function ApprovalList() {
  const [show, setShow] = useState<Show>("waiting");
  const [together, setTogether] = useState(false);
  const list = useList<Approval>("/api/approvals", { show });
  useShortcuts({ j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1) });

  return (
    <Page title="Approvals" side={<Choice label="Show" value={show} options={SHOWS} onChange={setShow} />}>
      <Shown of={list}>
        {({ items }) => {
          const low = items.filter((approval) => isLowRisk(approval) && approval.approved_remotely === null);
          if (items.length === 0) return <Nothing show={show} />;
          return (
            <>
              {GROUPS.map(([risk, title]) => (
                <Group
                  key={risk}
                  title={title}
                  approvals={byRiskAndAge(items).filter((approval) => riskOf(approval) === risk)}
                  side={
                    risk === "calm" && show === "waiting" && low.length > 1 ? (
                      <Button icon={CheckCheck} onClick={() => setTogether(true)}>
                        Approve several
                      </Button>
                    ) : null
                  }
                />
              ))}
              <More more={list.more} isAll={list.isAll} shown={items.length} />
              {together && <Batch approvals={byRiskAndAge(low)} onClose={() => setTogether(false)} />}
            </>
          );
        }}
      </Shown>
    </Page>
  );
}

function Group({ title, approvals, side }: { title: string; approvals: Approval[]; side: React.ReactNode }) {
  if (approvals.length === 0) return null;
  return (
    <section className="mt-6 first:mt-0">
      <div className="mb-2 flex min-h-8 items-center justify-between gap-3">
        <h2 className="text-[0.9375rem] font-semibold text-soft">
          {title} <span className="font-normal">· {approvals.length}</span>
        </h2>
        {side}
      </div>
      <Card>
        <ul className="divide-y divide-line">
          {approvals.map((approval) => (
            <li key={approval.id}>
              <Row approval={approval} />
            </li>
          ))}
        </ul>
      </Card>
    </section>
  );
}

const MARKS: Record<Risk, readonly [icon: typeof Mail, look: string, word: string]> = {
  danger: [OctagonAlert, "bg-danger-soft text-danger", "Danger"],
  look: [AlertTriangle, "bg-warn-soft text-warn", "Look first"],
  calm: [Mail, "bg-accent-soft text-accent", "Routine"],
};

export function Row({ approval }: { approval: Approval }) {
  const here = useParams<{ id?: string }>().id === encodeURIComponent(approval.id);
  const [Icon, look, word] = MARKS[riskOf(approval)];
  return (
    <Link
      data-request
      href={`/approvals/${encodeURIComponent(approval.id)}`}
      prefetch={false}
      aria-current={here ? "page" : undefined}
      className={cx("flex gap-3 px-4 py-3.5 outline-offset-[-2px]", here ? "bg-accent-soft" : "hover:bg-sunk")}
    >
      <span className={cx("mt-0.5 grid size-9 shrink-0 place-items-center rounded-full", look)}>
        <Icon aria-hidden className="size-[1.125rem]" />
        <span className="sr-only">{word}</span>
      </span>
      <span className="min-w-0 flex-1">
        <span className="flex items-baseline justify-between gap-3">
          <span className="truncate font-semibold">
            <Inert text={about(approval)} />
          </span>
          {approval.created && (
            <span className="shrink-0 text-sm text-soft">
              <Time at={approval.created} />
            </span>
          )}
        </span>
        <span className="block truncate text-[0.9375rem] text-soft">
          {actionName(approval.action)}
          {toWhom(approval) && (
            <>
              {" to "}
              <Inert text={toWhom(approval)} />
            </>
          )}
        </span>
        <State approval={approval} />
      </span>
    </Link>
  );
}

function State({ approval }: { approval: Approval }) {
  const { expired, warning, expires_in_seconds: left, snoozed_until: until, approved_remotely: given } = approval;
  const isCloud = useIsCloud();
  const confirm = approval.needs_confirmation || (given !== null && isCloud === false);
  const chips = [
    expired && <Chip key="expired" tone="danger">Expired: renew it</Chip>,
    !expired && warning && left !== null && <Chip key="soon" tone="warn">{duration(left)} left</Chip>,
    confirm && <Chip key="confirm" tone="warn">Confirm what was approved elsewhere</Chip>,
    isCloud && given && (
      <Chip key="given" tone={given.signed ? "good" : "warn"}>
        {given.signed ? "Signed, on its way to Local" : "Waits for Local's confirmation"}
      </Chip>
    ),
    until && <Chip key="until"><span>Back <Time at={until} /></span></Chip>,
    approval.problems.length > 0 && <Chip key="problems" tone="danger">{count(approval.problems.length, "problem")}</Chip>,
  ].filter(Boolean);
  return chips.length > 0 ? <span className="mt-1.5 flex flex-wrap gap-1.5">{chips}</span> : null;
}

function Nothing({ show }: { show: Show }) {
  if (show !== "waiting") {
    return <Empty icon={Inbox} title={show === "snoozed" ? "Nothing is snoozed" : "Nothing was drafted anew lately"} />;
  }
  return (
    <Empty icon={Inbox} title="Nothing waits for you">
      <p>
        When mail comes in, a reply is drafted and waits here for your word. Nothing is sent without it. With the
        defaults, drop a mail (<code>.eml</code>) into <code>.state/mail/in</code> to see one.
      </p>
    </Empty>
  );
}

/** Move the focus along the list. */
function step(by: number): void {
  const rows = [...document.querySelectorAll<HTMLElement>("[data-request]")].filter((row) => row.offsetParent !== null);
  const at = rows.findIndex((row) => row === document.activeElement);
  rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + by))]?.focus();
}
