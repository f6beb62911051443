"use client";

import { useEffect, type ReactNode } from "react";
import { useConnection } from "@/live/connection";
import { isAway } from "@/api/client";
import type { Loaded } from "@/live/use-api";
import { Button, Notice, Skeleton } from "./parts";
import { Clock, Time } from "./time";

interface PageProps {
  title: string;
  /** One sentence that says what the page is for. */
  lead?: ReactNode;
  side?: ReactNode;
  children: ReactNode;
}

export function Page({ title, lead, side, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · AI Employee`;
  }, [title]);
  return (
    <>
      <header className="mb-6 flex flex-wrap items-end justify-between gap-x-6 gap-y-3">
        <div className="min-w-0">
          <h1 className="text-[1.75rem] font-semibold leading-tight tracking-tight [overflow-wrap:anywhere]">{title}</h1>
          {lead && <p className="mt-1 text-soft">{lead}</p>}
        </div>
        {side}
      </header>
      {children}
    </>
  );
}

/**
 * What was loaded, once it is there. Where the API is away, what it said last stays, marked as old with its age; where
 * it says no, the reason stands there.
 */
export function Shown<Answer>({ of, children }: { of: Loaded<Answer>; children: (data: Answer) => ReactNode }) {
  const { api } = useConnection();
  const { data, at, problem, refresh } = of;
  if (data === undefined) {
    if (!problem) return <Skeleton />;
    return (
      <Notice tone="danger" live="polite">
        <p>{problem.message}</p>
        <Button kind="quiet" className="mt-3" onClick={() => void refresh()}>
          Try again
        </Button>
      </Notice>
    );
  }
  const isOld = at !== undefined && (api === "down" || problem !== undefined);
  return (
    <>
      {isOld && (
        <div className="mb-3" data-testid="old">
          <Notice tone="warn">
            From <Clock at={at} />, <Time at={at} />. It may have changed since.
            {problem && !isAway(problem) && ` ${problem.message}`}
          </Notice>
        </div>
      )}
      {children(data)}
    </>
  );
}

/** The way to more of a list. */
export function More({ more, isAll, shown }: { more: (() => void) | undefined; isAll: boolean; shown: number }) {
  if (isAll) return null;
  return (
    <div className="mt-3 text-center text-sm text-soft">
      {more ? (
        <Button onClick={more}>Show more</Button>
      ) : (
        <p>These are the newest {shown}. Choose a filter to see others.</p>
      )}
    </div>
  );
}
