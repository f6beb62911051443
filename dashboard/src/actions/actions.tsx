"use client";

import { Check, ListChecks, RotateCcw, Undo2 } from "lucide-react";
import Link from "next/link";
import { useState } from "react";
import { call } from "@/api/client";
import type { Action, ActionState } from "@/api/types";
import { useAttempt } from "@/approvals/answer";
import { milliseconds } from "@/lib/time";
import { ACTION_STATES } from "@/lib/words";
import { useList } from "@/live/use-api";
import { Dialog } from "@/ui/dialog";
import { More, Page, Shown } from "@/ui/page";
import { Button, Card, Choice, Empty, Facts, Field, FIELD, Notice } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";
import { Head } from "./row";

const STATES: readonly (readonly [ActionState | "", string])[] = [
  ["", "All"],
  ...(Object.entries(ACTION_STATES) as [ActionState, string][]),
];

/** What was done in the outside world, with its receipt; what nobody knows the outcome of is settled here. */
export function Actions() {
  const [state, setState] = useState<ActionState | "">("");
  const list = useList<Action>("/api/actions", { state });
  return (
    <Page
      title="Actions"
      lead="What was carried out, once each, with its receipt."
      side={<Choice label="State" value={state} options={STATES} onChange={setState} />}
    >
      <Shown of={list}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty icon={ListChecks} title={state ? `None is “${ACTION_STATES[state]}”` : "Nothing was carried out yet"}>
              {!state && "Approve a request, and it appears here: first while it can be taken back, then with its receipt."}
            </Empty>
          ) : (
            <>
              <ul className="space-y-3">
                {items.map((action) => (
                  <li key={action.action_id} id={action.action_id} className="scroll-mt-24">
                    <Whole action={action} />
                  </li>
                ))}
              </ul>
              <More more={list.more} isAll={list.isAll} shown={items.length} />
            </>
          )
        }
      </Shown>
    </Page>
  );
}

function Whole({ action }: { action: Action }) {
  const { busy, problem, run } = useAttempt();
  return (
    <Card>
      <details className="group" open={action.state === "unknown" || undefined}>
        <summary className="flex list-none items-center gap-3 px-4 py-3.5 outline-offset-[-2px] hover:bg-sunk">
          <Head action={action} />
        </summary>
        <div className="border-t border-line">
          <Facts facts={factsOf(action)} />
        </div>
      </details>
      {action.state === "unknown" && <Settle action={action} />}
      {action.state === "approved" && (
        <div className="flex flex-wrap items-center gap-3 border-t border-line px-4 py-3">
          <Button icon={Undo2} busy={busy} onClick={() => void run(() => call("POST", `/api/actions/${action.action_id}/cancel`))}>
            Take back
          </Button>
          {problem && <p className="text-sm text-danger">{problem.message}</p>}
        </div>
      )}
    </Card>
  );
}

function factsOf(action: Action) {
  const mono = (text: string) => <span className="font-mono text-sm">{text}</span>;
  return [
    ...(action.receipt
      ? ([
          ["Receipt", <Inert key="r" text={`${action.receipt.provider}: ${action.receipt.detail || "accepted"}`} />],
          ["Provider's id", mono(action.receipt.id)],
        ] as const)
      : []),
    ...(action.error ? ([["Error", <Inert key="e" text={action.error} />]] as const) : []),
    ...(action.waits ? ([["Waits", <Inert key="w" text={action.waits.reason} />]] as const) : []),
    ["Approved by", `${action.approver}, via ${action.via}`],
    ["Approved at", <Time key="t" exact at={action.approved_at} />],
    ["Request", mono(action.request)],
    ...(action.source_task
      ? ([
          [
            "Task",
            <Link key="task" href={`/tasks/${encodeURIComponent(action.source_task)}`} prefetch={false} className="font-mono text-sm text-accent underline">
              {action.source_task}
            </Link>,
          ],
        ] as const)
      : []),
    ...(action.duration_ms === null ? [] : ([["Took", milliseconds(action.duration_ms)]] as const)),
    ["Attempts", action.attempts],
    ["Bytes approved", mono(`sha256 ${action.sha256}`)],
  ] as const;
}

type Outcome = "happened" | "ask_again";

const QUESTIONS: Record<Outcome, readonly [title: string, description: string, word: string]> = {
  happened: ["It happened?", "It is filed as done, with your word as its receipt. It is not sent again.", "Yes, it happened"],
  ask_again: [
    "Ask again?",
    "The request comes back and waits for your answer. Do this only if you are sure that nothing left: else it would happen twice.",
    "Nothing left, ask again",
  ],
};

/** Nobody but the human can know: it happened, or it is to ask again. */
function Settle({ action }: { action: Action }) {
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [note, setNote] = useState("");
  const { busy, problem, run } = useAttempt();
  const close = (): void => setOutcome(null);

  async function settle(): Promise<void> {
    const body = { outcome, ...(note && { note }) };
    if (await run(() => call("POST", `/api/actions/${action.action_id}/settle`, body))) close();
  }

  return (
    <div className="space-y-3 border-t border-line px-4 py-3.5">
      <Notice tone="danger">
        It was cut off while it was being sent, so nobody here knows whether it left. Look where it would have arrived
        (the sent folder, the account, the page), then say what you found.
      </Notice>
      <div className="flex flex-wrap gap-2">
        <Button icon={Check} onClick={() => setOutcome("happened")}>
          It happened
        </Button>
        <Button icon={RotateCcw} onClick={() => setOutcome("ask_again")}>
          Nothing left, ask again
        </Button>
      </div>
      {outcome && (
        <Dialog
          open
          onClose={close}
          title={QUESTIONS[outcome][0]}
          description={QUESTIONS[outcome][1]}
          actions={
            <>
              <Button onClick={close}>Cancel</Button>
              <Button kind="primary" busy={busy} onClick={() => void settle()}>
                {QUESTIONS[outcome][2]}
              </Button>
            </>
          }
        >
          <Field label="How you know (for the log)">
            <input className={FIELD} value={note} maxLength={2000} onChange={(event) => setNote(event.target.value)} />
          </Field>
          {problem && (
            <Notice tone="danger" live="assertive">
              {problem.message}
            </Notice>
          )}
        </Dialog>
      )}
    </div>
  );
}
