"use client";

import { CircleCheck, CircleMinus, OctagonAlert, RefreshCw, TriangleAlert, type LucideIcon } from "lucide-react";
import { call } from "@/api/client";
import type { Doctor as Answer } from "@/api/types";
import { useAttempt } from "@/approvals/answer";
import { plain } from "@/lib/words";
import { useApi } from "@/live/use-api";
import { Shown } from "@/ui/page";
import { Button, Card, cx, Notice, Section } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";

type State = Answer["items"][number]["state"];

const LOOKS: Record<State, readonly [icon: LucideIcon, look: string, word: string]> = {
  error: [OctagonAlert, "text-danger", "broken"],
  warning: [TriangleAlert, "text-warn", "to look at"],
  ok: [CircleCheck, "text-good", "works"],
  off: [CircleMinus, "text-soft", "not set up"],
};

/** What the doctor says: what is set up, what works, and what to do about the rest, in words. */
export function Doctor() {
  const loaded = useApi<Answer>("/api/doctor", { refreshInterval: (data) => (data?.answer?.running ? 2_000 : 0) });
  const { busy, problem, run } = useAttempt();
  const isLooking = busy || (loaded.data?.running ?? false) || loaded.isLoading;

  async function look(): Promise<void> {
    await run(() => call("GET", "/api/doctor?refresh=true"));
    await loaded.refresh();
  }

  return (
    <Section
      title="What the doctor says"
      side={
        <Button icon={RefreshCw} busy={isLooking} onClick={() => void look()}>
          {isLooking ? "Looking" : "Look now"}
        </Button>
      }
    >
      {problem && (
        <div className="mb-3">
          <Notice tone="danger" live="assertive">
            {problem.message}
          </Notice>
        </div>
      )}
      <Shown of={loaded}>
        {({ items, checked_at: at }) => (
          <>
            {items.length === 0 ? (
              <p role="status" className="text-soft">
                It looks at what is set up and asks the servers. That may take a minute.
              </p>
            ) : (
              <Card>
                <ul className="divide-y divide-line">
                  {Object.keys(LOOKS).flatMap((state) =>
                    items
                      .filter((item) => item.state === state)
                      .map((item, index) => <Line key={state + index} item={item} />),
                  )}
                </ul>
              </Card>
            )}
            {at && (
              <p className="mt-2 text-sm text-soft">
                Looked at <Time at={at} />.
              </p>
            )}
          </>
        )}
      </Shown>
    </Section>
  );
}

function Line({ item }: { item: Answer["items"][number] }) {
  const [Icon, look, word] = LOOKS[item.state];
  return (
    <li className="flex items-start gap-3 px-4 py-3">
      <Icon aria-hidden className={cx("mt-0.5 size-5 shrink-0", look)} />
      <p className="min-w-0">
        <span className="font-medium">{plain(item.name)}</span> <span className="sr-only">{word}</span>
        <Inert text={item.says} className="block text-sm text-soft" />
      </p>
    </li>
  );
}
