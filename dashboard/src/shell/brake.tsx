"use client";

import { OctagonX, Play } from "lucide-react";
import { useState } from "react";
import { call, Problem } from "@/api/client";
import type { Stop } from "@/api/types";
import { POLL, useApi } from "@/live/use-api";
import { Dialog } from "@/ui/dialog";
import { Button, cx, Field, FIELD, Notice } from "@/ui/parts";

/** The kill switch, at the top of every page: pulled in two taps, released in two. */
export function Brake() {
  // Asked again and again although it is live: an API that hangs says nothing and closes nothing, so only a question
  // that it does not answer tells (`connection.ts`).
  const { data, refresh } = useApi<Stop>("/api/stop", { refreshInterval: POLL });
  const [open, setOpen] = useState(false);
  const stopped = data?.stopped ?? false;
  return (
    <>
      <button
        type="button"
        onClick={() => setOpen(true)}
        className={cx(
          "inline-flex min-h-11 items-center gap-2 rounded-full px-3.5 text-[0.9375rem] font-medium",
          stopped ? "bg-danger text-sheet" : "border border-edge text-danger hover:bg-danger-soft",
        )}
      >
        <OctagonX aria-hidden className="size-[1.125rem]" />
        {stopped ? "Stopped" : "Stop"}
        <span className="sr-only">{stopped ? ": release the kill switch" : " everything"}</span>
      </button>
      {open && <Question stop={data} onDone={refresh} onClose={() => setOpen(false)} />}
    </>
  );
}

interface QuestionProps {
  stop: Stop | undefined;
  onDone: () => Promise<unknown>;
  onClose: () => void;
}

function Question({ stop: now, onDone, onClose }: QuestionProps) {
  const [stop] = useState(now); // what was asked is what is done, whatever somebody else does meanwhile
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();
  const stopped = stop?.stopped ?? false;

  async function pull(): Promise<void> {
    setBusy(true);
    setProblem(undefined);
    try {
      if (stopped) await call<Stop>("DELETE", "/api/stop");
      else await call<Stop>("POST", "/api/stop", reason ? { reason } : {});
      await onDone();
      onClose();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    } finally {
      setBusy(false);
    }
  }

  return (
    <Dialog
      open
      onClose={onClose}
      title={stopped ? "Let it go on?" : "Stop everything?"}
      description={
        stopped
          ? `It stands still: ${stop?.reason ?? ""}. What is approved will be carried out again.`
          : "Nothing new is carried out on this node until you release it. What is approved waits; nothing is lost."
      }
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind={stopped ? "primary" : "danger"} icon={stopped ? Play : OctagonX} busy={busy} onClick={() => void pull()}>
            {stopped ? "Release" : "Stop everything"}
          </Button>
        </>
      }
    >
      {!stopped && (
        <Field label="Why (for whoever finds it)">
          <input className={FIELD} value={reason} maxLength={500} onChange={(event) => setReason(event.target.value)} />
        </Field>
      )}
      {problem && (
        <Notice tone="danger" live="assertive">
          {problem}
        </Notice>
      )}
    </Dialog>
  );
}
