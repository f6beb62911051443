"use client";

import { Save } from "lucide-react";
import { useState } from "react";
import type { ApprovalDetail } from "@/api/types";
import { Button, Card, Field, FIELD, Notice } from "@/ui/parts";
import { edit, useAttempt, type Edit } from "./answer";

const PEOPLE = ["to", "cc", "bcc"] as const;
const LABELS = { to: "To", cc: "Cc", bcc: "Bcc" };

interface EditorProps {
  approval: ApprovalDetail;
  onClose: () => void;
  /** It is saved; `sha256` is the hash of what lies there now. */
  onSaved: (sha256: string) => void;
}

/** Change the words, the subject and who gets it. Saving approves nothing: the new version is shown, and asks. */
export function Editor({ approval, onClose, onSaved }: EditorProps) {
  const isMail = typeof approval.fields.subject === "string" && Array.isArray(approval.fields.to);
  const before = textsOf(approval);
  const [texts, setTexts] = useState(before);
  const { busy, problem, run } = useAttempt();
  const changes = changed(before, texts);
  const set = (name: keyof Texts) => (value: string) => setTexts({ ...texts, [name]: value });

  async function save(): Promise<void> {
    let sha256 = "";
    const ok = await run(async () => {
      ({ sha256 } = await edit(approval, changes));
    });
    if (ok) onSaved(sha256);
  }

  return (
    <Card className="p-4">
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        {isMail && (
          <>
            {PEOPLE.map((name) => (
              <Field key={name} label={LABELS[name]} hint={name === "to" ? "Separate addresses with commas" : undefined}>
                <input className={FIELD} dir="auto" value={texts[name]} onChange={(event) => set(name)(event.target.value)} />
              </Field>
            ))}
            <Field label="Subject">
              <input className={FIELD} dir="auto" value={texts.subject} onChange={(event) => set("subject")(event.target.value)} />
            </Field>
          </>
        )}
        <Field label="Text">
          <textarea
            autoFocus
            dir="auto"
            rows={Math.min(24, texts.draft.split("\n").length + 3)}
            className={`${FIELD} leading-relaxed`}
            value={texts.draft}
            onChange={(event) => set("draft")(event.target.value)}
          />
        </Field>
        {problem && (
          <Notice tone="danger" live="assertive">
            {problem.kind === "changed" ? "The file has changed meanwhile. Close this, look at it again, then edit it." : problem.message}
          </Notice>
        )}
        <div className="flex flex-wrap justify-end gap-2">
          <Button onClick={onClose}>Leave it as it was</Button>
          <Button type="submit" kind="primary" icon={Save} busy={busy} disabled={Object.keys(changes).length === 0}>
            Save and look at it
          </Button>
        </div>
      </form>
    </Card>
  );
}

interface Texts {
  to: string;
  cc: string;
  bcc: string;
  subject: string;
  draft: string;
}

function textsOf({ fields, draft }: ApprovalDetail): Texts {
  const list = (value: unknown): string => (Array.isArray(value) ? value.join(", ") : "");
  return {
    to: list(fields.to),
    cc: list(fields.cc),
    bcc: list(fields.bcc),
    subject: typeof fields.subject === "string" ? fields.subject : "",
    draft: draft ?? "",
  };
}

function changed(before: Texts, after: Texts): Edit {
  const people = PEOPLE.filter((name) => before[name] !== after[name]).map((name) => [name, addresses(after[name])]);
  return {
    ...Object.fromEntries(people),
    ...(before.subject !== after.subject && { subject: after.subject }),
    ...(before.draft !== after.draft && { draft: after.draft }),
  };
}

function addresses(text: string): string[] {
  return text
    .split(/[,;\n]/)
    .map((part) => part.trim())
    .filter(Boolean);
}
