"use client";

import { Ban, CircleCheck, CircleHelp, Clock3, OctagonAlert, Send, type LucideIcon } from "lucide-react";
import Link from "next/link";
import type { Action, ActionState } from "@/api/types";
import { ACTION_STATES, actionName } from "@/lib/words";
import { Chip, cx, type Tone } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";

const LOOKS: Record<ActionState, readonly [icon: LucideIcon, tone: Tone, look: string]> = {
  approved: [Clock3, "accent", "text-accent"],
  sending: [Send, "accent", "text-accent"],
  done: [CircleCheck, "good", "text-good"],
  failed: [OctagonAlert, "danger", "text-danger"],
  unknown: [CircleHelp, "danger", "text-danger"],
  void: [Ban, "plain", "text-soft"],
};

/** One action in one line: what, how it stands, since when. */
export function ActionRow({ action }: { action: Action }) {
  return (
    <Link
      href={`/actions#${action.action_id}`}
      prefetch={false}
      className="flex items-center gap-3 px-4 py-3 outline-offset-[-2px] hover:bg-sunk"
    >
      <Head action={action} isOneLine />
    </Link>
  );
}

/** What every view of an action begins with. */
export function Head({ action, isOneLine = false }: { action: Action; isOneLine?: boolean }) {
  const [Icon, tone, look] = LOOKS[action.state];
  return (
    <>
      <Icon aria-hidden className={cx("size-5 shrink-0", look)} />
      <span className="min-w-0 flex-1">
        <span className={cx("block font-medium", isOneLine && "truncate")}>{actionName(action.action)}</span>
        <span className={cx("block text-sm text-soft", isOneLine ? "truncate" : "[overflow-wrap:anywhere]")}>
          <Inert text={summary(action)} />
        </span>
      </span>
      <span className="flex shrink-0 flex-col items-end gap-0.5 text-sm text-soft">
        <Chip tone={tone}>{ACTION_STATES[action.state]}</Chip>
        <Time at={action.at} />
      </span>
    </>
  );
}

function summary(action: Action): string {
  if (action.state === "approved") return action.waits ? `waits: ${action.waits.reason}` : "leaves in a moment";
  return action.receipt?.detail || action.error || action.request;
}
