"use client";

import { CircleCheck, OctagonAlert, Send, Undo2, X } from "lucide-react";
import Link from "next/link";
import { useCallback, useEffect, useState, useSyncExternalStore } from "react";
import { useSWRConfig } from "swr";
import { call, Problem } from "@/api/client";
import type { Action } from "@/api/types";
import { useApi } from "@/live/use-api";
import { duration } from "@/lib/time";
import { useNow } from "@/lib/use-now";
import { actionName } from "@/lib/words";
import { Button, cx } from "@/ui/parts";
import { Inert } from "@/ui/text";

/** What was approved in this tab, and still is shown: action id and what it is about. */
interface Sent {
  id: string;
  about: string;
}

/** How long what ended, or is held, stays in sight; Actions has it for good. */
const STAYS_MS = 15_000;
/** A hold that ends within this is the time to take it back, as after every approval. */
const UNDO_MS = 60_000;
/** More lines than these are told as one. */
const MOST = 2;

let sent: readonly Sent[] = [];
const NONE: readonly Sent[] = [];
const listeners = new Set<() => void>();

function become(next: readonly Sent[]): void {
  sent = next;
  for (const listener of listeners) listener();
}

/** Show this action at the foot of every page until it is over. */
export function watch(id: string, about: string): void {
  become([...sent.filter((other) => other.id !== id), { id, about }]);
}

function forget(ids: readonly string[]): void {
  become(sent.filter(({ id }) => !ids.includes(id)));
}

/** At the foot of all pages, above what can be answered there: what was just approved, here or elsewhere, while it can
 * be taken back, and what became of it. */
export function Outbox() {
  useEffect(() => void watchWhatCanBeTakenBack(), []);
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => sent,
    () => NONE,
  );
  if (shown.length === 0) return null;
  return <Strip sent={shown} />;
}

/** After a reload, and in another tab. An API that is away is told of elsewhere. */
async function watchWhatCanBeTakenBack(): Promise<void> {
  try {
    const { items } = await call<{ items: Action[] }>("GET", "/api/actions?state=approved&limit=20");
    for (const action of items) {
      const until = undoneUntil(action);
      if (until !== null && until > Date.now() && !sent.some(({ id }) => id === action.action_id)) {
        watch(action.action_id, actionName(action.action));
      }
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

function undoneUntil(action: Action | undefined): number | null {
  if (action?.state !== "approved" || !action.waits?.until) return null;
  const until = Date.parse(action.waits.until);
  return until - Date.now() < UNDO_MS ? until : null;
}

function Strip({ sent: shown }: { sent: readonly Sent[] }) {
  const { data, refresh } = useApi<{ items: Action[] }>("/api/actions?limit=100", { refreshInterval: 2_000 });
  return (
    <section
      aria-label="Just approved"
      className={cx(
        "fixed inset-x-0 bottom-[calc(3.6rem+env(safe-area-inset-bottom))] z-20 mx-auto max-w-xl space-y-2 px-3 pb-2 lg:bottom-4",
        "[body:has([data-answers])_&]:bottom-[calc(11.5rem+env(safe-area-inset-bottom))] sm:[body:has([data-answers])_&]:bottom-[calc(8.5rem+env(safe-area-inset-bottom))] lg:[body:has([data-answers])_&]:bottom-20",
      )}
    >
      {shown.length > MOST ? (
        <Folded sent={shown} />
      ) : (
        shown.map((one) => (
          <Line key={one.id} sent={one} action={data?.items.find((action) => action.action_id === one.id)} onTaken={refresh} />
        ))
      )}
    </section>
  );
}

function Folded({ sent: shown }: { sent: readonly Sent[] }) {
  const ids = shown.map(({ id }) => id).join(" ");
  const close = useCallback(() => forget(ids.split(" ")), [ids]);
  useEffect(() => {
    const timer = setTimeout(close, 2 * STAYS_MS);
    return () => clearTimeout(timer);
  }, [close]);
  return (
    <div role="status" className="rise flex items-center gap-3 rounded-2xl bg-ink py-2 pl-4 pr-2 text-paper shadow-xl">
      <Send aria-hidden className="size-5 shrink-0" />
      <p className="min-w-0 flex-1 text-[0.9375rem] font-medium">{shown.length} approved</p>
      <Link href="/actions" prefetch={false} className="rounded-full px-3 py-2 underline">
        Look, or take back
      </Link>
      <Close onClick={close} />
    </div>
  );
}

function Close({ onClick }: { onClick: () => void }) {
  return (
    <button type="button" className="grid size-11 shrink-0 place-items-center rounded-full" onClick={onClick}>
      <X aria-hidden className="size-5" />
      <span className="sr-only">Close</span>
    </button>
  );
}

function Line({ sent: one, action, onTaken }: { sent: Sent; action: Action | undefined; onTaken: () => Promise<unknown> }) {
  const now = useNow(500);
  const { mutate } = useSWRConfig();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();
  const until = action?.state === "approved" && action.waits?.until ? Date.parse(action.waits.until) : null;
  const isTold = action !== undefined && (["done", "void"].includes(action.state) || (action.waits != null && undoneUntil(action) === null));
  useEffect(() => {
    if (!isTold) return;
    const timer = setTimeout(() => forget([one.id]), STAYS_MS);
    return () => clearTimeout(timer);
  }, [isTold, one.id]);

  async function takeBack(): Promise<void> {
    setBusy(true);
    try {
      await call("POST", `/api/actions/${one.id}/cancel`);
      await Promise.all([onTaken(), mutate((key) => typeof key === "string" && key.startsWith("/api/approvals"))]);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    } finally {
      setBusy(false);
    }
  }

  const [Icon, look] = face(action);
  return (
    <div role="status" className="rise flex items-center gap-3 rounded-2xl bg-ink py-2 pl-4 pr-2 text-paper shadow-xl">
      <Icon aria-hidden className={cx("size-5 shrink-0", look)} />
      <p className="min-w-0 flex-1 text-[0.9375rem] leading-snug">
        <span className="block truncate font-medium">
          <Inert text={one.about} />
        </span>
        <span className="block text-sm opacity-85">{problem ?? says(action, until, now)}</span>
      </p>
      {action?.state === "approved" && (
        <Button kind="quiet" icon={Undo2} busy={busy} onClick={() => void takeBack()} className="border-transparent">
          Take back
        </Button>
      )}
      {action?.state === "unknown" || action?.state === "failed" ? (
        <Link href="/actions" prefetch={false} className="rounded-full px-3 py-2 underline">
          Look
        </Link>
      ) : null}
      <Close onClick={() => forget([one.id])} />
    </div>
  );
}

function face(action: Action | undefined) {
  if (action?.state === "done") return [CircleCheck, ""] as const;
  if (action?.state === "failed" || action?.state === "unknown") return [OctagonAlert, ""] as const;
  if (action?.state === "void") return [Undo2, ""] as const;
  return [Send, "pulse"] as const;
}

function says(action: Action | undefined, until: number | null, now: number): string {
  if (action === undefined) return "Approved";
  switch (action.state) {
    case "approved":
      if (action.waits && until === null) return `Waits: ${action.waits.reason}`;
      if (until !== null && until - now < 60_000) return `Leaves in ${Math.max(0, Math.ceil((until - now) / 1000))} s`;
      if (until !== null) return `Waits ${duration((until - now) / 1000)}: ${action.waits?.reason}`;
      return "Leaves now";
    case "sending":
      return "On its way";
    case "done":
      return `${actionName(action.action)} is out. Receipt kept.`;
    case "failed":
      return action.error ?? "It failed; nothing was sent.";
    case "unknown":
      return "Nobody knows whether it left. Only you can settle that.";
    case "void":
      return "Taken back. It waits for your answer again.";
  }
}
