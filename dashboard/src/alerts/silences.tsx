"use client";

import { BellOff, Bell } from "lucide-react";
import { useState } from "react";
import { useSWRConfig } from "swr";
import { call, Problem } from "@/api/client";
import type { Alert, Silence } from "@/api/types";
import { duration } from "@/lib/time";
import { useApi } from "@/live/use-api";
import { Dialog } from "@/ui/dialog";
import { Button, Card, Choice, Notice, Section } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";

const HOURS = ["1", "8", "24", "168"] as const;
type Hours = (typeof HOURS)[number];

/** What is silenced now: it is recorded as ever, and not mailed. */
export function Silences() {
  const { data, refresh } = useApi<{ items: Silence[] }>("/api/alerts/silences");
  const [problem, setProblem] = useState<string>();
  if (!data || data.items.length === 0) return null;

  async function end(id: string): Promise<void> {
    setProblem(undefined);
    try {
      await call("DELETE", `/api/alerts/silences/${encodeURIComponent(id)}`);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    }
    await refresh();
  }

  return (
    <div className="mb-8">
      <Section title="Silenced">
        <Card>
          <ul className="divide-y divide-line">
            {data.items.map((silence) => (
              <li key={silence.id} className="flex flex-wrap items-center justify-between gap-3 px-4 py-3">
                <p className="min-w-0">
                  <span className="font-medium">
                    <Inert text={Object.values(silence.match).filter(Boolean).join(", ")} />
                  </span>
                  <span className="block text-sm text-soft">
                    mailed again <Time at={silence.until} />
                  </span>
                </p>
                <Button icon={Bell} onClick={() => void end(silence.id)}>
                  Mail them again
                </Button>
              </li>
            ))}
          </ul>
        </Card>
        {problem && <Notice tone="danger">{problem}</Notice>}
      </Section>
    </div>
  );
}

/** Not to be mailed of such alerts for a while. */
export function SilenceButton({ alert }: { alert: Alert }) {
  const { mutate } = useSWRConfig();
  const [isOpen, setOpen] = useState(false);
  const [hours, setHours] = useState<Hours>("8");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();

  async function silence(): Promise<void> {
    setBusy(true);
    setProblem(undefined);
    try {
      const until = new Date(Date.now() + Number(hours) * 3_600_000).toISOString();
      await call("POST", "/api/alerts/silences", { match: { source: alert.source, title: alert.title }, until });
      setOpen(false);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    } finally {
      setBusy(false);
      void mutate((key) => typeof key === "string" && key.startsWith("/api/alerts"));
    }
  }

  return (
    <>
      <Button kind="bare" icon={BellOff} onClick={() => setOpen(true)}>
        Silence<span className="sr-only"> {alert.title}</span>
      </Button>
      {isOpen && (
        <Dialog
          open
          onClose={() => setOpen(false)}
          title="Silence such alerts?"
          description="Alerts of this title and source are recorded as ever, and not mailed until then. The first one after that is news again."
          actions={
            <>
              <Button onClick={() => setOpen(false)}>Cancel</Button>
              <Button kind="primary" busy={busy} onClick={() => void silence()}>
                Silence
              </Button>
            </>
          }
        >
          <p className="font-medium">
            <Inert text={alert.title} />
          </p>
          <Choice label="For" value={hours} options={HOURS.map((value) => [value, duration(Number(value) * 3600)] as const)} onChange={setHours} />
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
