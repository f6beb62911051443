"use client";

import { useState, type ReactNode } from "react";
import type { Approval } from "@/api/types";
import { fullTime, localInput } from "@/lib/time";
import { Dialog } from "@/ui/dialog";
import { Button, Field, FIELD, Notice } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { reject, revise, snooze, useAttempt } from "./answer";
import { Outgoing } from "./outgoing";

interface QuestionProps {
  approval: Approval;
  onClose: () => void;
  /** The answer was given. `next`: the request that follows it, if there is to be one. */
  onDone: (next?: string) => void;
}

interface AskProps {
  /** Nothing is to be typed: Enter answers. */
  isPlain?: boolean;
  title: string;
  description?: ReactNode;
  children: ReactNode;
  word: string;
  kind?: "primary" | "danger";
  ready?: boolean;
  problem: string | undefined;
  busy: boolean;
  onClose: () => void;
  onSubmit: () => void;
}

function Ask({ isPlain = false, title, description, children, word, kind = "primary", ready = true, problem, busy, onClose, onSubmit }: AskProps) {
  return (
    <Dialog
      open
      onClose={onClose}
      title={title}
      description={description}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind={kind} busy={busy} disabled={!ready} data-autofocus={isPlain || undefined} onClick={onSubmit}>
            {word}
          </Button>
        </>
      }
    >
      {children}
      {problem && (
        <Notice tone="danger" live="assertive">
          {problem}
        </Notice>
      )}
    </Dialog>
  );
}

export function Reject({ approval, onClose, onDone }: QuestionProps) {
  const [reason, setReason] = useState("");
  const { busy, problem, run } = useAttempt();
  return (
    <Ask
      title="Reject this request?"
      description="Nothing is sent. It and the task it serves go to Rejected, with your reason beside them."
      word="Reject"
      kind="danger"
      busy={busy}
      problem={problem?.message}
      onClose={onClose}
      onSubmit={() => void run(() => reject(approval, reason)).then((ok) => ok && onDone())}
    >
      <Field label="Why (for the note beside the file)">
        <input className={FIELD} value={reason} onChange={(event) => setReason(event.target.value)} />
      </Field>
    </Ask>
  );
}

const SUGGESTIONS = ["shorter", "in German", "in English"];

export function Revise({ approval, onClose, onDone }: QuestionProps) {
  const [instruction, setInstruction] = useState("");
  const { busy, problem, run } = useAttempt();
  return (
    <Ask
      title="Ask for a new draft"
      description="This draft is put away, and a new one is written by your instruction. It asks you again."
      word="Draft anew"
      ready={instruction.trim() !== ""}
      busy={busy}
      problem={problem?.message}
      onClose={onClose}
      onSubmit={() => void run(() => revise(approval, instruction)).then((ok) => ok && onDone())}
    >
      <Field label="What should be different?">
        <textarea className={FIELD} rows={3} value={instruction} onChange={(event) => setInstruction(event.target.value)} />
      </Field>
      <div className="flex flex-wrap gap-2" role="group" aria-label="Suggestions">
        {SUGGESTIONS.map((words) => (
          <Button key={words} onClick={() => setInstruction([instruction.trim(), words].filter(Boolean).join(", "))}>
            {words}
          </Button>
        ))}
      </div>
    </Ask>
  );
}

/** Moments to come back at that people choose; those of today only while they are ahead. */
function moments(now: Date): readonly (readonly [string, Date])[] {
  const at = (days: number, hours: number): Date =>
    new Date(now.getFullYear(), now.getMonth(), now.getDate() + days, hours);
  const all = [
    ["In an hour", new Date(now.getTime() + 3_600_000)],
    ["This evening", at(0, 18)],
    ["Tomorrow morning", at(1, 8)],
    ["Next Monday", at(((8 - now.getDay()) % 7) || 7, 8)],
  ] as const;
  return all.filter(([, moment]) => moment > now);
}

export function Snooze({ approval, onClose, onDone }: QuestionProps) {
  const [now] = useState(() => new Date());
  const [until, setUntil] = useState(() => localInput(new Date(now.getTime() + 3_600_000)));
  const { busy, problem, run } = useAttempt();
  const moment = new Date(until);
  const expires = approval.expires ? new Date(approval.expires) : null;
  return (
    <Ask
      title="Snooze"
      description="It is hidden from the list until then, and comes back by itself."
      word="Snooze"
      ready={!Number.isNaN(moment.getTime())}
      busy={busy}
      problem={problem?.message}
      onClose={onClose}
      onSubmit={() => void run(() => snooze(approval, moment)).then((ok) => ok && onDone())}
    >
      <div className="flex flex-wrap gap-2" role="group" aria-label="Suggestions">
        {moments(now).map(([words, at]) => (
          <Button key={words} onClick={() => setUntil(localInput(at))}>
            {words}
          </Button>
        ))}
      </div>
      <Field label="Until">
        <input type="datetime-local" className={FIELD} value={until} min={localInput(now)} onChange={(event) => setUntil(event.target.value)} />
      </Field>
      {expires && moment >= expires && (
        <Notice tone="warn">
          Its time ends on {fullTime(expires.getTime())}, before it comes back. It can&apos;t be approved after that unless
          you renew it.
        </Notice>
      )}
    </Ask>
  );
}

interface ConfirmProps {
  approval: Approval;
  /** What it asks where nothing looks like a trick. */
  title: string;
  word: string;
  /** What else is to be seen before. */
  children?: ReactNode;
  busy: boolean;
  onClose: () => void;
  onApprove: () => void;
}

/** Before something with a danger goes out: the dangers, and all that would go out, once more. */
export function Confirm({ approval, title, word, children, busy, onClose, onApprove }: ConfirmProps) {
  const [isSure, setSure] = useState(false);
  const dangers = approval.badges.filter((badge) => badge.severity === "danger");
  return (
    <Ask
      isPlain={dangers.length === 0}
      title={dangers.length > 0 ? "This looks like a trick" : title}
      word={word}
      kind={dangers.length > 0 ? "danger" : "primary"}
      ready={dangers.length === 0 || isSure}
      busy={busy}
      problem={undefined}
      onClose={onClose}
      onSubmit={onApprove}
    >
      {dangers.map((badge) => (
        <Notice key={badge.words} tone="danger">
          <Inert text={badge.words} />
        </Notice>
      ))}
      <Outgoing approval={approval} />
      {children}
      {dangers.length > 0 && (
        <label className="flex min-h-11 items-center gap-3">
          <input type="checkbox" className="size-5 shrink-0 accent-accent" checked={isSure} onChange={(event) => setSure(event.target.checked)} />
          I have checked this by another way than this mail.
        </label>
      )}
    </Ask>
  );
}
