"use client";

/** Approving on the Cloud: how it stands with Local, and what is signed. */
import Link from "next/link";
import { useEffect, useState } from "react";
import type { Approval, ApprovalDetail, Platinum } from "@/api/types";
import { useApi } from "@/live/use-api";
import { useOwnKey, type Own } from "@/signing/own-key";
import { sha256 } from "@/signing/statement";
import { Card, Notice } from "@/ui/parts";
import { Source } from "@/ui/text";
import { Time } from "@/ui/time";

export interface Place extends Pick<Own, "key" | "problem"> {
  isCloud: boolean | undefined;
  /** Whether it is known what an approval here is worth. */
  isKnown: boolean;
}

/** Whether this node only passes approvals on; undefined while that is not known. */
export function useIsCloud(): boolean | undefined {
  const { data } = useApi<Platinum>("/api/platinum/status");
  return data && data.mode === "draft_only";
}

/** Where an approval is given, and the key that would sign it. */
export function usePlace(): Place {
  const isCloud = useIsCloud();
  const { key, problem } = useOwnKey(isCloud === true);
  return { isCloud, key, problem, isKnown: isCloud === false || key !== undefined || problem !== undefined };
}

/** Whether another approval would say more than the one that is on its way. */
export function canGive({ approved_remotely: given }: Approval, { isCloud, isKnown, key }: Place): boolean {
  return isKnown && !(isCloud && given && !key);
}

/** What the button says on the Cloud. */
export function cloudWord({ approved_remotely: given }: Approval, { key }: Place): string {
  if (!key) return given ? "Passed on" : "Pass on to Local";
  return given?.signed ? "Sign again" : "Sign and pass on";
}

/** On the Cloud: what an approval that is given here is worth, or what becomes of the one that was. */
export function Worth({ approval, place: { isCloud, isKnown, key, problem } }: { approval: Approval; place: Place }) {
  if (!isCloud) return null;
  const given = approval.approved_remotely;
  if (given) {
    return (
      <Notice tone={given.signed ? "good" : "warn"} live="polite">
        Approved remotely <Time at={given.at} />
        {given.signed ? ", signed. Local carries it out after it verified the signature." : ", not signed. It waits for Local's confirmation."}
      </Notice>
    );
  }
  if (key || !isKnown) return null;
  return (
    <Notice tone="accent">
      {problem ? `${problem.message} ` : "This browser has no key to sign with. "}
      What you pass on waits for your confirmation on Local.{" "}
      {!problem && (
        <Link href="/settings#approver-key" className="underline">
          Make a key, so that Local carries it out
        </Link>
      )}
    </Notice>
  );
}

/** The very text that is signed, and its hash, which is computed here. */
export function ToSign({ approval: { content } }: { approval: ApprovalDetail }) {
  const digest = useDigest(content);
  return (
    <section aria-label="What you sign">
      <h3 className="mb-2 text-[0.9375rem] font-semibold text-soft">What you sign: this file, byte for byte</h3>
      <Card>
        <Source text={content} />
        <p className="border-t border-line px-4 py-3 font-mono text-xs [overflow-wrap:anywhere]" data-testid="digest">
          sha256 {digest}
        </p>
      </Card>
    </section>
  );
}

function useDigest(text: string): string | undefined {
  const [known, setKnown] = useState<{ text: string; digest: string }>();
  useEffect(() => {
    let isWanted = true;
    void sha256(text).then((digest) => isWanted && setKnown({ text, digest }));
    return () => {
      isWanted = false;
    };
  }, [text]);
  return known?.text === text ? known.digest : undefined;
}
