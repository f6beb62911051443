"use client";

import { ArrowLeft, Check, Replace } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useState } from "react";
import { useSWRConfig } from "swr";
import { call, Problem } from "@/api/client";
import type { ConflictDetail } from "@/api/types";
import { Difference } from "@/approvals/difference";
import { useApi } from "@/live/use-api";
import { Dialog } from "@/ui/dialog";
import { Page, Shown } from "@/ui/page";
import { Button, Card, Empty, Notice, Section } from "@/ui/parts";
import { Inert, Source } from "@/ui/text";
import { Time } from "@/ui/time";

/** One conflict: both versions side by side, and which is to stand. */
export function ConflictPage({ id }: { id: string }) {
  const loaded = useApi<ConflictDetail>(`/api/vault/conflicts/${encodeURIComponent(id)}`, { keepPreviousData: false });
  return (
    <>
      <Link href="/sync" prefetch={false} className="mb-3 inline-flex min-h-11 items-center gap-2 text-soft hover:text-ink">
        <ArrowLeft aria-hidden className="size-4" /> Sync
      </Link>
      {loaded.problem?.status === 404 ? (
        <Page title="Settled">
          <Empty icon={Check} title="This is settled">
            The version that yielded does not lie there any more.
          </Empty>
        </Page>
      ) : (
        <Shown of={loaded}>{(conflict) => <Whole conflict={conflict} />}</Shown>
      )}
    </>
  );
}

type Choice = "take-theirs" | "dismiss";

const QUESTIONS: Record<Choice, readonly [title: string, description: string, word: string]> = {
  "take-theirs": ["Take the version that yielded?", "It replaces what stands now, which stays in git's history.", "Take it"],
  dismiss: ["Leave what stands?", "The version that yielded is removed from here, and stays in git's history.", "Leave what stands"],
};

function Whole({ conflict }: { conflict: ConflictDetail }) {
  const router = useRouter();
  const { mutate } = useSWRConfig();
  const [seen] = useState(conflict); // what is answered is what was shown
  const [choice, setChoice] = useState<Choice | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();
  const hasChanged = conflict.ours?.sha256 !== seen.ours?.sha256 || conflict.copy_sha256 !== seen.copy_sha256;

  async function settle(answer: Choice): Promise<void> {
    setBusy(true);
    setProblem(undefined);
    try {
      const body = { copy_sha256: seen.copy_sha256, ...(answer === "take-theirs" && seen.ours && { sha256: seen.ours.sha256 }) };
      await call("POST", `/api/vault/conflicts/${encodeURIComponent(seen.id)}/${answer}`, body);
      router.push("/sync");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    } finally {
      setBusy(false);
      setChoice(null);
      void mutate((key) => typeof key === "string" && /^\/api\/(vault|platinum)/.test(key));
    }
  }

  return (
    <Page
      title={seen.original.split("/").at(-1) ?? seen.original}
      lead={
        <>
          <Inert text={seen.original} />, <Time at={seen.since} />
        </>
      }
    >
      <div className="space-y-4">
        {seen.why && (
          <Notice tone="accent">
            <Inert text={seen.why} />
          </Notice>
        )}
        {(problem ?? (hasChanged && "It changed, look again: go back and open it anew.")) && (
          <Notice tone="danger" live="assertive">
            {problem ?? "It changed, look again: go back and open it anew."}
          </Notice>
        )}
        <div className="grid gap-4 lg:grid-cols-2">
          <Version title={`Stands now${seen.stands ? ` (${seen.stands})` : ""}`} version={seen.ours} />
          <Version title={`Yielded${seen.lost ? ` (${seen.lost})` : ""}`} version={seen.theirs} />
        </div>
        {seen.ours?.text != null && seen.theirs.text !== null && (
          <Section title="What would change if you took it">
            <Card>
              <Difference before={seen.ours.text} after={seen.theirs.text} />
            </Card>
          </Section>
        )}
        <div className="flex flex-wrap gap-2">
          <Button kind="primary" icon={Check} disabled={hasChanged} onClick={() => setChoice("dismiss")}>
            Leave what stands
          </Button>
          <Button icon={Replace} disabled={hasChanged} onClick={() => setChoice("take-theirs")}>
            Take the other one
          </Button>
        </div>
      </div>
      {choice && (
        <Dialog
          open
          onClose={() => setChoice(null)}
          title={QUESTIONS[choice][0]}
          description={QUESTIONS[choice][1]}
          actions={
            <>
              <Button onClick={() => setChoice(null)}>Cancel</Button>
              <Button kind="primary" busy={busy} data-autofocus onClick={() => void settle(choice)}>
                {QUESTIONS[choice][2]}
              </Button>
            </>
          }
        >
          {null}
        </Dialog>
      )}
    </Page>
  );
}

function Version({ title, version }: { title: string; version: ConflictDetail["ours"] }) {
  return (
    <section className="min-w-0">
      <h2 className="mb-2 text-[0.9375rem] font-semibold text-soft">{title}</h2>
      <Card>
        {version === null ? (
          <p className="px-4 py-4 text-soft">Nothing lies there now.</p>
        ) : version.text === null ? (
          <p className="px-4 py-4 text-soft">No text, or too large to show: {version.size} bytes.</p>
        ) : (
          <Source text={version.text} label={title} />
        )}
      </Card>
    </section>
  );
}
