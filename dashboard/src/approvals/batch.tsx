"use client";

import { useState } from "react";
import { Problem } from "@/api/client";
import type { Approval } from "@/api/types";
import { count } from "@/lib/words";
import { Dialog } from "@/ui/dialog";
import { Button, cx, Notice } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { approve, useAttempt } from "./answer";
import { Badges } from "./badges";
import { Outgoing } from "./outgoing";
import { about, toWhom } from "./risk";
import { useIsCloud } from "./signed";

/** Several routine requests in one go. Each is shown whole, and approved by the hash of what is shown. */
export function Batch({ approvals: given, onClose }: { approvals: Approval[]; onClose: () => void }) {
  const [approvals] = useState(given); // what was shown is what is approved, whatever comes in meanwhile
  const [chosen, setChosen] = useState<ReadonlySet<string>>(() => new Set(approvals.map(({ id }) => id)));
  const [failed, setFailed] = useState<string[]>([]);
  const { busy, run } = useAttempt();
  const isCloud = useIsCloud();
  const list = approvals.filter(({ id }) => chosen.has(id));

  function toggle(id: string): void {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setChosen(next);
  }

  async function approveAll(): Promise<void> {
    const problems: string[] = [];
    await run(async () => {
      for (const approval of list) {
        try {
          await approve(approval);
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          problems.push(`${about(approval)}: ${error.message}`);
        }
      }
    });
    setFailed(problems);
    if (problems.length === 0) onClose();
  }

  return (
    <Dialog
      open
      onClose={onClose}
      title="Approve several"
      description={`This node found nothing grave about these. Read each, and take out what should wait.${isCloud ? " Together they are not signed: each waits for Local's confirmation." : ""}`}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" busy={busy} disabled={list.length === 0 || isCloud === undefined} onClick={() => void approveAll()}>
            {isCloud ? "Pass on" : "Approve"} {count(list.length, "request")}
          </Button>
        </>
      }
    >
      {failed.map((words) => (
        <Notice key={words} tone="danger" live="assertive">
          <Inert text={words} />
        </Notice>
      ))}
      <ul className="space-y-4">
        {approvals.map((approval) => (
          <li key={approval.id} className={cx(!chosen.has(approval.id) && "opacity-70")}>
            <label className="mb-2 flex min-h-11 items-center gap-3">
              <input type="checkbox" className="size-5 shrink-0 accent-accent" checked={chosen.has(approval.id)} onChange={() => toggle(approval.id)} />
              <span className="min-w-0">
                <span className="block font-semibold">
                  <Inert text={about(approval)} />
                </span>
                <span className="block text-sm text-soft">
                  <Inert text={toWhom(approval)} />
                </span>
              </span>
            </label>
            <div className="space-y-3">
              <Badges approval={approval} />
              <Outgoing approval={approval} />
            </div>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
