"use client";

import { CircleCheck, CircleHelp } from "lucide-react";
import Link from "next/link";
import type { Answer } from "@/api/types";
import { withQuery } from "@/api/client";
import { useApi } from "@/live/use-api";
import { Page } from "@/ui/page";
import { buttonLook, Empty } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";

/** A request that waits no more: what the answer was. */
export function Gone({ id }: { id: string }) {
  const { data } = useApi<{ items: Answer[] }>(withQuery("/api/answers", { request: id, limit: 1 }));
  const answer = data?.items[0];
  return (
    <Page title="It waits no more">
      <Empty icon={answer ? CircleCheck : CircleHelp} title={answer ? `Answered: ${answer.answer}` : "No such request waits"}>
        {answer ? (
          <p>
            <Time at={answer.at} /> by {answer.by}
            {answer.said && (
              <>
                {": "}
                <Inert text={answer.said} />
              </>
            )}
          </p>
        ) : (
          <p>It may have been answered elsewhere, or moved in the vault.</p>
        )}
        <p className="mt-5">
          <Link href="/approvals" prefetch={false} className={buttonLook("quiet")}>
            All approvals
          </Link>
        </p>
      </Empty>
    </Page>
  );
}
