"use client";

import { useSWRConfig } from "swr";
import type { Platinum } from "@/api/types";
import { useConnection } from "@/live/connection";
import { useApi } from "@/live/use-api";
import { Button, cx, Notice } from "@/ui/parts";
import { Clock } from "@/ui/time";

/** Whether what is shown changes by itself: a dot and a word. */
export function Pulse() {
  const { api, live } = useConnection();
  const [word, look] =
    api === "down"
      ? ["Offline", "bg-danger"]
      : live
        ? ["Live", "bg-good"]
        : [api === "up" ? "Every 10 s" : "Connecting", "bg-warn"];
  return (
    <span role="status" className="flex items-center gap-2 text-sm text-soft">
      <span aria-hidden className={cx("size-2 rounded-full", look)} />
      {word}
    </span>
  );
}

/** What holds for every page, above all of them: the API is away, everything stands still, this is the Cloud. */
export function Banners() {
  const { api, since, reason } = useConnection();
  const { mutate } = useSWRConfig();
  const { data } = useApi<Platinum>("/api/platinum/status");
  return (
    <div className="mb-6 space-y-2 empty:hidden">
      {api === "down" && (
        <Notice tone="danger" live="assertive">
          <div className="flex flex-wrap items-center justify-between gap-x-4 gap-y-2">
            <p>
              <strong>{reason}</strong> Since <Clock at={since} /> nothing here is new, and nothing can be answered.
            </p>
            <Button onClick={() => void mutate((key) => typeof key === "string")}>Try again</Button>
          </div>
        </Notice>
      )}
      {data?.stands_still && (
        <Notice tone="warn" live="polite">
          <strong>Everything stands still:</strong> {data.stands_still}. What you approve waits.
        </Notice>
      )}
      {data?.mode === "draft_only" && (
        <Notice tone="accent">
          <strong>This is the Cloud node.</strong> It carries nothing out. What you approve here goes to Local with the
          next sync, and Local asks you to confirm it unless a key of yours signed it.
        </Notice>
      )}
    </div>
  );
}
