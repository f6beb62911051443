"use client";

import { Check, Copy, KeyRound, Trash2 } from "lucide-react";
import { useState } from "react";
import { commandElsewhere } from "@/lib/words";
import { Dialog } from "@/ui/dialog";
import { Button, Card, Facts, Field, FIELD, Notice, Section } from "@/ui/parts";
import { CannotSign, NAME, useOwnKey, type Own, type OwnKey } from "./own-key";

/** On the Cloud: make the key that this browser approves with, have Local enrol it, forget it. */
export function ApproverKey() {
  const own = useOwnKey(true);
  const { key, problem } = own;
  return (
    <Section title="Your approver key">
      <div id="approver-key" className="scroll-mt-20 space-y-3">
        <p className="text-[0.9375rem] text-soft">
          This node carries nothing out. What you approve here waits for your confirmation on Local, unless a key signed it
          that Local knows. The key is made in this browser and never leaves it.
        </p>
        {problem && (
          <Notice tone="warn" live="polite">
            {problem.message}
          </Notice>
        )}
        {key === null && <Make own={own} />}
        {key && <Made own={own} of={key} />}
      </div>
    </Section>
  );
}

/** Something done with the key, and why it could not be. */
function useWork() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();

  async function run(work: () => Promise<void>): Promise<void> {
    setBusy(true);
    setProblem(undefined);
    try {
      await work();
    } catch (error) {
      if (!(error instanceof CannotSign)) throw error;
      setProblem(error.message);
    } finally {
      setBusy(false);
    }
  }

  return { busy, problem, run };
}

function Make({ own }: { own: Own }) {
  const [name, setName] = useState("");
  const { busy, problem, run } = useWork();
  return (
    <form
      className="space-y-3"
      onSubmit={(event) => {
        event.preventDefault();
        void run(() => own.make(name));
      }}
    >
      <Field label="What you call this device" hint="As in ada-phone: letters, digits, dots, hyphens. Local knows the key by this name.">
        <input className={FIELD} value={name} required pattern={NAME} autoCapitalize="none" autoComplete="off" onChange={(event) => setName(event.target.value)} />
      </Field>
      {problem && (
        <Notice tone="danger" live="assertive">
          {problem}
        </Notice>
      )}
      <Button type="submit" kind="primary" icon={KeyRound} busy={busy}>
        Make a key
      </Button>
    </form>
  );
}

function Made({ own, of: { name, signer } }: { own: Own; of: OwnKey }) {
  const [asks, setAsks] = useState(false);
  const { busy, problem, run } = useWork();
  return (
    <>
      <Card>
        <Facts
          facts={[
            ["Device", name],
            ["Public key", <code key="key" className="break-all font-mono text-sm">{signer}</code>],
          ]}
        />
        <div className="space-y-2 border-t border-line px-4 py-3">
          <p className="text-[0.9375rem]">Run this on Local, once. Until then, Local asks you to confirm what this key signed.</p>
          <Command words={`approver_key enrol ${name} ${signer}`} />
        </div>
      </Card>
      <Button icon={Trash2} onClick={() => setAsks(true)}>
        Forget this key
      </Button>
      {asks && (
        <Dialog
          open
          onClose={() => setAsks(false)}
          title="Forget this key?"
          description="This browser can sign with it no more, and nobody can bring it back. What it has signed still counts on Local, until you run this there:"
          actions={
            <>
              <Button onClick={() => setAsks(false)}>Cancel</Button>
              <Button kind="danger" icon={Trash2} busy={busy} onClick={() => void run(own.forget)}>
                Forget it
              </Button>
            </>
          }
        >
          <Command words={`approver_key revoke ${name}`} />
          {problem && (
            <Notice tone="danger" live="assertive">
              {problem}
            </Notice>
          )}
        </Dialog>
      )}
    </>
  );
}

/** A command for Local's terminal, to be copied. */
function Command({ words }: { words: string }) {
  const [copied, setCopied] = useState(false);
  const line = commandElsewhere(words);
  return (
    <div className="space-y-2">
      <code className="block select-all rounded-lg bg-sunk px-3 py-2.5 break-all font-mono text-sm">{line}</code>
      <Button icon={copied ? Check : Copy} onClick={() => void navigator.clipboard.writeText(line).then(() => setCopied(true))}>
        <span aria-live="polite">{copied ? "Copied" : "Copy"}</span>
      </Button>
    </div>
  );
}
