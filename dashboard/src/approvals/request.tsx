"use client";

import { ArrowLeft, ChevronDown, Clock3, Pencil, RotateCcw, Send, Sparkles, X, type LucideIcon } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useState } from "react";
import type { ApprovalDetail } from "@/api/types";
import { duration } from "@/lib/time";
import { useShortcuts } from "@/lib/shortcuts";
import { actionName, approveWord, plain } from "@/lib/words";
import { useConnection } from "@/live/connection";
import { useApi } from "@/live/use-api";
import { Page, Shown } from "@/ui/page";
import { Button, Card, Chip, Facts, Notice, Section } from "@/ui/parts";
import { Inert, Letter, Source } from "@/ui/text";
import { Time } from "@/ui/time";
import { approve, edit, signAndPassOn, useAttempt, type Approved } from "./answer";
import { Badges } from "./badges";
import { Difference } from "./difference";
import { Editor } from "./editor";
import { Gone } from "./gone";
import { Outgoing } from "./outgoing";
import { Confirm, Reject, Revise, Snooze } from "./questions";
import { about, asksTwice, canApprove } from "./risk";
import { canGive, cloudWord, ToSign, usePlace, Worth } from "./signed";

type Open = "confirm" | "reject" | "revise" | "snooze" | "edit" | null;

/** One request. What is shown stays what was read: where the file changes meanwhile, that is said, not slipped in. */
export function Request({ id }: { id: string }) {
  const loaded = useApi<ApprovalDetail>(`/api/approvals/${encodeURIComponent(id)}`, { keepPreviousData: false });
  if (loaded.problem?.status === 404) return <Gone id={id} />;
  return <Shown of={loaded}>{(newest) => <Reading key={newest.id} newest={newest} onRefresh={loaded.refresh} />}</Shown>;
}

function Reading({ newest, onRefresh }: { newest: ApprovalDetail; onRefresh: () => Promise<unknown> }) {
  const [read, setRead] = useState(newest);
  const [saved, setSaved] = useState<string>();
  if (newest.sha256 === read.sha256 && newest !== read) setRead(newest); // the same bytes: only its time went on
  if (saved && newest.sha256 !== read.sha256) {
    if (newest.sha256 === saved) setRead(newest); // our own edit, once: what else comes, or comes back, is somebody else's
    setSaved(undefined);
  }
  const hasChanged = newest.sha256 !== read.sha256;
  return (
    <>
      {hasChanged && (
        <div className="mb-5 space-y-3" data-testid="changed">
          <Notice tone="danger" live="assertive">
            <p className="font-semibold">It changed, look again.</p>
            <p>The file is no longer what you read, so it can&apos;t be approved from here. This is what became of it:</p>
          </Notice>
          <Card>
            <Difference before={read.content} after={newest.content} />
          </Card>
          <Button kind="primary" onClick={() => setRead(newest)}>
            Show the new version
          </Button>
        </div>
      )}
      <Whole approval={read} hasChanged={hasChanged} onSaved={setSaved} onRefresh={onRefresh} />
    </>
  );
}

interface WholeProps {
  approval: ApprovalDetail;
  hasChanged: boolean;
  onSaved: (sha256: string) => void;
  onRefresh: () => Promise<unknown>;
}

function Whole({ approval, hasChanged, onSaved, onRefresh }: WholeProps) {
  const router = useRouter();
  const [open, setOpen] = useState<Open>(null);
  const { api } = useConnection();
  const place = usePlace();
  const { busy, problem, run } = useAttempt();
  const { isCloud, key } = place;
  const isAway = api === "down";
  const ready = canApprove(approval) && !hasChanged && !isAway && canGive(approval, place);
  const word = isCloud ? cloudWord(approval, place) : approveWord(approval.action);
  const close = (): void => setOpen(null);
  const leave = (): void => router.push("/approvals");

  async function send(): Promise<void> {
    let done: Approved | undefined;
    await run(async () => {
      done = await (isCloud && key ? signAndPassOn(approval, key) : approve(approval));
    });
    if (done && "action_id" in done) leave();
    else close();
    await onRefresh();
  }

  function ask(): void {
    if (!ready) return;
    if (key || asksTwice(approval)) setOpen("confirm");
    else void send();
  }

  async function renew(): Promise<void> {
    let sha256 = "";
    await run(async () => ({ sha256 } = await edit(approval, { renew: true })));
    if (sha256) onSaved(sha256);
    await onRefresh();
  }

  const mayAnswer = isCloud === false && !isAway && !hasChanged;
  useShortcuts({
    a: () => ready && setOpen("confirm"),
    e: () => mayAnswer && setOpen("edit"),
    n: () => mayAnswer && setOpen("revise"),
    s: () => mayAnswer && setOpen("snooze"),
    r: () => mayAnswer && setOpen("reject"),
    u: leave,
  });

  const question = { approval, onClose: close, onDone: leave };
  return (
    <>
      <Link href="/approvals" prefetch={false} className="mb-3 inline-flex min-h-11 items-center gap-2 text-soft hover:text-ink xl:hidden">
        <ArrowLeft aria-hidden className="size-4" /> All approvals
      </Link>
      <Page title={about(approval)} lead={<Lead approval={approval} />}>
        <div className="space-y-5">
          {approval.reason && !(isCloud && approval.reason === approval.approved_remotely?.words) && (
            <Notice tone="warn">
              <Inert text={approval.reason} />
            </Notice>
          )}
          <Worth approval={approval} place={place} />
          <Badges approval={approval} />
          {problem && problem.kind !== "changed" && (
            <Notice tone="danger" live="assertive">
              {problem.message}
            </Notice>
          )}
          {open === "edit" ? (
            <Editor
              approval={approval}
              onClose={close}
              onSaved={(sha256) => {
                onSaved(sha256);
                close();
                void onRefresh();
              }}
            />
          ) : (
            <Section title="Exactly what will be sent">
              <Outgoing approval={approval} recipients={approval.recipients} />
            </Section>
          )}
          <Changes approval={approval} />
          <Background approval={approval} />
        </div>
        {open !== "edit" && (
          <div data-answers className="sticky bottom-[calc(3.5rem+env(safe-area-inset-bottom))] z-10 -mx-4 mt-6 border-t border-line bg-paper shadow-[0_0.75rem_0_var(--paper)] px-4 pb-2 pt-3 sm:mx-0 sm:px-0 lg:bottom-0">
            <div className="flex flex-col gap-1 sm:flex-row sm:flex-wrap sm:gap-2">
              {approval.expired ? (
                <Button kind="primary" icon={RotateCcw} busy={busy} disabled={!mayAnswer} onClick={() => void renew()}>
                  Renew its time
                </Button>
              ) : (
                <Button kind={isCloud && approval.approved_remotely ? "quiet" : "primary"} icon={Send} busy={busy} disabled={!ready} onClick={ask}>
                  {word}
                </Button>
              )}
              <div className="grid grid-cols-4 sm:flex sm:gap-1">
                <Other icon={Pencil} disabled={!mayAnswer} onClick={() => setOpen("edit")}>
                  Edit
                </Other>
                <Other icon={Sparkles} disabled={!mayAnswer || !approval.source_task} onClick={() => setOpen("revise")}>
                  New draft
                </Other>
                <Other icon={Clock3} disabled={!mayAnswer} onClick={() => setOpen("snooze")}>
                  Snooze
                </Other>
                <Other icon={X} disabled={!mayAnswer} onClick={() => setOpen("reject")}>
                  Reject
                </Other>
              </div>
            </div>
          </div>
        )}
      </Page>
      {open === "confirm" && (
        <Confirm
          approval={approval}
          title={key ? "Sign exactly this?" : "Send exactly this?"}
          word={word}
          busy={busy}
          onClose={close}
          onApprove={() => void send()}
        >
          {key && <ToSign approval={approval} />}
        </Confirm>
      )}
      {open === "reject" && <Reject {...question} />}
      {open === "revise" && <Revise {...question} />}
      {open === "snooze" && <Snooze {...question} />}
    </>
  );
}

interface OtherProps {
  icon: LucideIcon;
  disabled: boolean;
  onClick: () => void;
  children: string;
}

/** An answer besides the first: an icon above its word on a phone, beside it elsewhere. */
function Other({ icon: Icon, children, ...rest }: OtherProps) {
  return (
    <button
      type="button"
      {...rest}
      className="flex min-h-12 flex-col items-center justify-center gap-0.5 whitespace-nowrap rounded-xl text-xs text-soft hover:bg-sunk hover:text-ink disabled:cursor-not-allowed disabled:opacity-55 sm:min-h-11 sm:flex-row sm:gap-2 sm:rounded-full sm:px-2 sm:text-[0.9375rem]"
    >
      <Icon aria-hidden className="size-[1.125rem]" />
      {children}
    </button>
  );
}

function Lead({ approval }: { approval: ApprovalDetail }) {
  const left = approval.expires_in_seconds;
  return (
    <span className="flex flex-wrap items-center gap-x-3 gap-y-1.5">
      <Chip tone="accent">{actionName(approval.action)}</Chip>
      {approval.created && (
        <span>
          asked <Time at={approval.created} />
        </span>
      )}
      {approval.expired ? (
        <Chip tone="danger">Expired</Chip>
      ) : (
        left !== null && <span className={approval.warning ? "font-semibold text-warn" : undefined}>{duration(left)} left to approve</span>
      )}
      {approval.snoozed_until && (
        <Chip>
          <span>
            Snoozed, back <Time at={approval.snoozed_until} />
          </span>
        </Chip>
      )}
    </span>
  );
}

/** What was edited since this node first saw it, by whomever. */
function Changes({ approval }: { approval: ApprovalDetail }) {
  const { change } = approval;
  if (change === null) return null;
  const fields = Object.entries(change.fields);
  return (
    <Section title="What was changed">
      <Card>
        {change.draft && <Difference before={change.draft.before} after={change.draft.after} />}
        {fields.length > 0 && (
          <div className={change.draft ? "border-t border-line" : undefined}>
            <Facts
              facts={fields.map(([name, { before, after }]) => [
                plain(name),
                <span key={name}>
                  <del className="text-danger">
                    <Inert text={told(before)} />
                  </del>{" "}
                  <ins className="text-good">
                    <Inert text={told(after)} />
                  </ins>
                </span>,
              ])}
            />
          </div>
        )}
      </Card>
    </Section>
  );
}

function told(value: unknown): string {
  if (value === null || value === undefined || value === "") return "(none)";
  return Array.isArray(value) ? value.join(", ") : String(value);
}

/** The mail it answers, why it was drafted so, and the file itself. */
function Background({ approval }: { approval: ApprovalDetail }) {
  const { mail, task } = approval.source;
  return (
    <>
      {mail && (
        <Section title="The mail it answers">
          <Card>
            <div className="flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1 px-4 pt-3 text-sm text-soft">
              <span className="flex flex-wrap items-center gap-2">
                <Inert text={mail.sender} />
                {mail.authenticated === true && <Chip tone="good">Genuine sender</Chip>}
                {mail.authenticated === false && <Chip tone="danger">Forged sender</Chip>}
              </span>
              <Time at={mail.received} />
            </div>
            <p className="px-4 pt-1 font-medium">
              <Inert text={mail.subject} />
            </p>
            <Letter quiet text={mail.text} />
            {(mail.truncated || mail.attachments.length > 0) && (
              <p className="border-t border-line px-4 py-3 text-sm text-soft">
                {mail.truncated && "It goes on; the task has all of it. "}
                {mail.attachments.length > 0 && (
                  <>
                    Attached: <Inert text={mail.attachments.map(({ name }) => name).join(", ")} />
                  </>
                )}
              </p>
            )}
          </Card>
        </Section>
      )}
      {approval.why && (
        <Section title="Why">
          <Card className="px-4 py-3 text-[0.9375rem]">
            <Inert text={approval.why} />
            {approval.drafted_by && <p className="mt-2 text-sm text-soft">Drafted by {approval.drafted_by}</p>}
          </Card>
        </Section>
      )}
      <details className="group">
        <summary className="flex min-h-11 list-none items-center gap-2 text-[0.9375rem] font-semibold text-soft">
          <ChevronDown aria-hidden className="size-4 transition-transform group-open:rotate-180" />
          The file and its hash
        </summary>
        <Card>
          <p className="border-b border-line px-4 py-3 font-mono text-xs [overflow-wrap:anywhere]">sha256 {approval.sha256}</p>
          <Source text={approval.content} />
        </Card>
        {task && (
          <p className="mt-2 text-sm">
            <Link href={`/tasks/${encodeURIComponent(task)}`} prefetch={false} className="text-accent underline">
              The task it serves
            </Link>
          </p>
        )}
      </details>
    </>
  );
}
