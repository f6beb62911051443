"use client";

/** The five answers. Each names the hash of what was shown. */
import { useState } from "react";
import { useSWRConfig } from "swr";
import { call, Problem } from "@/api/client";
import type { Approval, ApprovalDetail, Posted } from "@/api/types";
import { actionName } from "@/lib/words";
import { watch } from "@/shell/outbox";
import type { OwnKey } from "@/signing/own-key";
import { sha256, sign } from "@/signing/statement";
import { about } from "./risk";

export type Approved = Posted<"/api/approvals/{request_id}/approve">;
type Snoozed = Posted<"/api/approvals/{request_id}/snooze">;
type Revised = Posted<"/api/approvals/{request_id}/revise">;

export interface Edit {
  draft?: string;
  subject?: string;
  to?: string[];
  cc?: string[];
  bcc?: string[];
  renew?: boolean;
}

function at(approval: Approval, answer = ""): string {
  return `/api/approvals/${encodeURIComponent(approval.id)}${answer}`;
}

/** Approve exactly the bytes that were shown. Raises `Problem`: of the kind `changed` where they are others now. */
export async function approve(approval: Approval): Promise<Approved> {
  const done = await call<Approved>("POST", at(approval, "/approve"), { sha256: approval.sha256 });
  if ("action_id" in done) watch(done.action_id, `${actionName(approval.action)}: ${about(approval)}`);
  return done;
}

/**
 * Sign the text that is shown, and have a draft-only node pass that on to Local. Raises `Problem`, also where the text is
 * not what the node says that it has: then nothing is signed.
 */
export async function signAndPassOn(approval: ApprovalDetail, key: OwnKey): Promise<Approved> {
  const { id: request, action, content, expires } = approval;
  if ((await sha256(content)) !== approval.sha256) {
    throw new Problem(0, {
      type: "not-these-bytes",
      detail: "What this page shows is not what this node says that the file is, so it was not signed. Approve it on Local.",
    });
  }
  if (action === null || expires === null) throw new Problem(0, { detail: "It can't be read, so it can't be signed." });
  const statement = await sign(key, { request, action, content, expires: new Date(expires) });
  return call("POST", at(approval, "/approve"), { sha256: statement.sha256, approval: statement });
}

export function edit(approval: Approval, changes: Edit): Promise<{ sha256: string }> {
  return call("PUT", at(approval), { sha256: approval.sha256, ...changes });
}

export function reject(approval: Approval, reason: string): Promise<unknown> {
  return call("POST", at(approval, "/reject"), { reason, sha256: approval.sha256 });
}

export function revise(approval: Approval, instruction: string): Promise<Revised> {
  return call("POST", at(approval, "/revise"), { instruction, sha256: approval.sha256 });
}

export function snooze(approval: Approval, until: Date): Promise<Snoozed> {
  return call("POST", at(approval, "/snooze"), { until: until.toISOString(), sha256: approval.sha256 });
}

export interface Attempt {
  busy: boolean;
  problem: Problem | undefined;
  /** Do it; true where it went well. What is shown of approvals and actions is asked anew either way. */
  run: (work: () => Promise<unknown>) => Promise<boolean>;
  clear: () => void;
}

/** One answer at a time, and what came of it. */
export function useAttempt(): Attempt {
  const { mutate } = useSWRConfig();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();

  async function run(work: () => Promise<unknown>): Promise<boolean> {
    setBusy(true);
    setProblem(undefined);
    try {
      await work();
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error);
      return false;
    } finally {
      setBusy(false);
      void mutate((key) => typeof key === "string" && /^\/api\/(approvals|actions|platinum)/.test(key));
    }
  }

  return { busy, problem, run, clear: () => setProblem(undefined) };
}
