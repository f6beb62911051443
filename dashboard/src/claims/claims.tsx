"use client";

import { Hand } from "lucide-react";
import Link from "next/link";
import { useState } from "react";
import type { Claims } from "@/api/types";
import { withQuery } from "@/api/client";
import { plain } from "@/lib/words";
import { useApi } from "@/live/use-api";
import { More, Page, Shown } from "@/ui/page";
import { Card, Chip, Empty, Section } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";

/** Who works on what now, and what the claims log says. */
export function ClaimsPage() {
  const [limit, setLimit] = useState(50);
  const loaded = useApi<Claims>(withQuery("/api/claims", { limit }));
  return (
    <Page title="Claims" lead="Who works on what. A claim holds once it is on the shared branch.">
      <Shown of={loaded}>
        {({ active, recent, next_cursor: next }) => (
          <>
            <Section title={`Now · ${active.length}`}>
              {active.length === 0 ? (
                <Empty icon={Hand} title="Nobody works on anything">
                  An agent takes a task by moving it to its own folder. While it does, it stands here.
                </Empty>
              ) : (
                <Card>
                  <ul className="divide-y divide-line">
                    {active.map((claim) => (
                      <li key={claim.path} className="px-4 py-3">
                        <p className="flex flex-wrap items-center gap-2">
                          <TaskLink id={claim.task} />
                          <Chip tone="accent">{claim.agent ?? "nobody known"}</Chip>
                          {claim.provisional && <Chip tone="warn">Provisional</Chip>}
                          {claim.working && <Chip tone="good">At work</Chip>}
                        </p>
                        <p className="mt-1 text-sm text-soft">
                          {claim.since ? (
                            <>
                              since <Time at={claim.since} />
                            </>
                          ) : (
                            "no line says since when"
                          )}
                          {claim.last_beat_at && (
                            <>
                              , last sign <Time at={claim.last_beat_at} />
                            </>
                          )}
                        </p>
                      </li>
                    ))}
                  </ul>
                </Card>
              )}
            </Section>
            <Section title="What the log says">
              {recent.length === 0 ? (
                <p className="text-soft">Nothing yet.</p>
              ) : (
                <Card>
                  <ul className="divide-y divide-line">
                    {(recent as Record<string, unknown>[]).map((entry, index) => (
                      <li key={index} className="px-4 py-3 text-[0.9375rem]">
                        <p className="flex flex-wrap items-baseline justify-between gap-x-4">
                          <span>
                            <span className="font-medium">{plain(text(entry.event))}</span>
                            <span className="text-soft"> by {text(entry.agent)}</span>
                          </span>
                          <span className="text-sm text-soft">
                            <Time at={text(entry.at)} />
                          </span>
                        </p>
                        <TaskLink id={text(entry.task)} />
                        {entry.reason ? <Inert text={text(entry.reason)} className="block text-sm text-soft" /> : null}
                      </li>
                    ))}
                  </ul>
                </Card>
              )}
              <More more={next && limit < 500 ? () => setLimit(Math.min(limit * 2, 500)) : undefined} isAll={!next} shown={recent.length} />
            </Section>
          </>
        )}
      </Shown>
    </Page>
  );
}

function TaskLink({ id }: { id: string }) {
  return (
    <Link href={`/tasks/${encodeURIComponent(id)}`} prefetch={false} className="font-mono text-sm text-accent underline [overflow-wrap:anywhere]">
      <Inert text={id} />
    </Link>
  );
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
