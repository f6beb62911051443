"use client";

import { GitMerge, RefreshCw } from "lucide-react";
import Link from "next/link";
import { useState } from "react";
import { useSWRConfig } from "swr";
import { call, Problem } from "@/api/client";
import type { Conflict, SyncResult, SyncStatus } from "@/api/types";
import { milliseconds } from "@/lib/time";
import { plain } from "@/lib/words";
import { useApi, useList } from "@/live/use-api";
import { More, Page, Shown } from "@/ui/page";
import { Button, Card, Chip, Empty, Facts, Notice, Section, type Tone } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";

const STATES: Record<SyncStatus["state"], readonly [word: string, tone: Tone]> = {
  never: ["Never synced", "plain"],
  idle: ["Idle", "good"],
  syncing: ["Syncing", "accent"],
  offline: ["Remote not reachable", "warn"],
  error: ["Said no", "danger"],
};

/** How the vault stands to its remote, and what yielded. */
export function Sync() {
  const status = useApi<SyncStatus>("/api/vault/sync/status");
  const { mutate } = useSWRConfig();
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<readonly [tone: Tone, words: string]>();

  async function syncNow(): Promise<void> {
    setBusy(true);
    setSaid(undefined);
    try {
      setSaid(["good", outcome(await call<SyncResult>("POST", "/api/vault/sync/trigger", {}))]);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setSaid(["warn", error.message]);
    } finally {
      setBusy(false);
      void mutate((key) => typeof key === "string" && key.startsWith("/api/vault"));
    }
  }

  return (
    <Page
      title="Sync"
      lead="The vault travels between the nodes by git. Where both changed a note, Local's word stands."
      side={
        <Button kind="primary" icon={RefreshCw} busy={busy} onClick={() => void syncNow()}>
          {busy ? "Syncing" : "Sync now"}
        </Button>
      }
    >
      {said && (
        <div className="mb-4">
          <Notice tone={said[0]} live="polite">
            {said[1]}
          </Notice>
        </div>
      )}
      <Shown of={status}>{(sync) => <Status sync={sync} />}</Shown>
      <Section title="The last runs">
        <Runs />
      </Section>
      <Section title="Versions that yielded">
        <Conflicts />
      </Section>
    </Page>
  );
}

function outcome(result: SyncResult): string {
  if (result.result === "noop") return "Nothing was to be done: both sides are the same.";
  const numbers = [
    result.committed && `${result.committed} committed`,
    result.pulled && `${result.pulled} taken`,
    result.pushed && `${result.pushed} sent`,
    result.conflicts.length && `${result.conflicts.length} yielded`,
    result.refused.length && `${result.refused.length} refused`,
  ].filter(Boolean);
  return `Done in ${milliseconds(result.duration_ms)}: ${numbers.join(", ") || "nothing changed"}.`;
}

function Status({ sync }: { sync: SyncStatus }) {
  const [word, tone] = STATES[sync.state];
  const last = sync.last_sync;
  return (
    <Card>
      <Facts
        facts={[
          ["State", <Chip key="s" tone={tone}>{word}</Chip>],
          ["Remote", sync.remote ? <Inert key="r" text={sync.remote} /> : "none: this vault is alone (set VAULT_REMOTE_URL to sync)"],
          ["Branch", sync.branch],
          ...(sync.remote ? ([["Ahead, behind", `${sync.ahead ?? "?"}, ${sync.behind ?? "?"}`]] as const) : []),
          ["Changed here", sync.dirty === null ? "not known" : sync.dirty ? "yes, and goes with the next sync" : "no"],
          ...(sync.last_success_at ? ([["Last success", <Time key="l" at={sync.last_success_at} />]] as const) : []),
          ...(sync.next_run_at ? ([["Next", <Time key="n" at={sync.next_run_at} />]] as const) : []),
          ...(last ? ([["Last time", last.error ? <Inert key="e" text={last.error} /> : outcome(last)]] as const) : []),
        ]}
      />
      {last && last.refused.length > 0 && (
        <div className="border-t border-line p-4">
          <Notice tone="warn">
            <p className="font-semibold">Not taken or sent</p>
            <Refused refused={last.refused} />
          </Notice>
        </div>
      )}
    </Card>
  );
}

const RESULTS: Record<SyncResult["result"], Tone> = {
  noop: "plain",
  ok: "good",
  conflicts: "warn",
  offline: "warn",
  error: "danger",
};

function Runs() {
  const list = useList<SyncResult>("/api/vault/sync/runs");
  return (
    <Shown of={list}>
      {({ items }) =>
        items.length === 0 ? (
          <Empty icon={RefreshCw} title="No sync yet">
            The scheduler syncs every five minutes, and the button above at once.
          </Empty>
        ) : (
          <>
            <Card>
              <ul className="divide-y divide-line">
                {items.map((run) => (
                  <li key={run.started_at} className="px-4 py-3">
                    <p className="flex flex-wrap items-center justify-between gap-2">
                      <Chip tone={RESULTS[run.result]}>{plain(run.result)}</Chip>
                      <span className="text-sm text-soft">
                        <Time at={run.started_at} />
                      </span>
                    </p>
                    <p className="mt-1 text-[0.9375rem] text-soft">
                      {run.error ? <Inert text={run.error} /> : outcome(run)}
                    </p>
                    {run.refused.length > 0 && <Refused refused={run.refused} />}
                  </li>
                ))}
              </ul>
            </Card>
            <More more={list.more} isAll={list.isAll} shown={items.length} />
          </>
        )
      }
    </Shown>
  );
}

function Refused({ refused }: { refused: SyncResult["refused"] }) {
  return (
    <ul aria-label="Not taken or sent" className="mt-2 space-y-1 text-sm text-warn">
      {refused.map((refusal) => (
        <li key={refusal.path}>
          <Inert text={refusal.path} className="font-mono" />: <Inert text={refusal.reason} />
        </li>
      ))}
    </ul>
  );
}

function Conflicts() {
  const list = useList<Conflict>("/api/vault/conflicts");
  return (
    <Shown of={list}>
      {({ items }) =>
        items.length === 0 ? (
          <Empty icon={GitMerge} title="Nothing yielded">
            When both nodes change the same note, one version stands and the other is kept here, so that nothing is lost.
          </Empty>
        ) : (
          <>
            <Card>
              <ul className="divide-y divide-line">
                {items.map((conflict) => (
                  <li key={conflict.path}>
                    <Link
                      href={`/sync/${encodeURIComponent(conflict.id)}`}
                      prefetch={false}
                      className="block px-4 py-3 outline-offset-[-2px] hover:bg-sunk"
                    >
                      <span className="block font-medium [overflow-wrap:anywhere]">
                        <Inert text={conflict.original} />
                      </span>
                      <span className="block text-sm text-soft">
                        {conflict.lost && `${conflict.lost}'s version yielded, `}
                        <Time at={conflict.since} />
                        {conflict.why && <Inert text={conflict.why} className="block" />}
                      </span>
                    </Link>
                  </li>
                ))}
              </ul>
            </Card>
            <More more={list.more} isAll={list.isAll} shown={items.length} />
          </>
        )
      }
    </Shown>
  );
}
