"use client";

import { useEffect } from "react";
import { useSWRConfig } from "swr";
import { apiIsUp, streamIs, useConnection } from "./connection";

/** Which questions a topic of the event stream is about, by the beginning of their address. */
const ABOUT: Record<string, readonly string[]> = {
  approvals: ["/api/approvals", "/api/answers"],
  tasks: ["/api/tasks", "/api/platinum"],
  alerts: ["/api/alerts"],
  zones: ["/api/zones"],
  sync: ["/api/vault", "/api/platinum"],
  actions: ["/api/actions", "/api/stop", "/api/platinum"],
  health: ["/api/health", "/api/doctor", "/api/platinum"],
  claims: ["/api/claims"],
};

const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;

interface Told {
  versions: Record<string, string>;
}

/** Follows `/api/events` and has asked again what changed. Comes back by itself, with longer and longer pauses. */
export function Live(): null {
  const { mutate } = useSWRConfig();
  const { api, hasSession } = useConnection();
  const isDown = api === "down";

  useEffect(() => {
    // Back again: what failed in between is asked at once, although nothing changed.
    if (api === "up" && hasSession) void mutate((key) => typeof key === "string" && key.startsWith("/api/"));
  }, [api, hasSession, mutate]);

  useEffect(() => {
    let source: EventSource | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let pause = FIRST_PAUSE;
    let seen: Record<string, string> = {};

    function askAgain(prefixes: readonly string[]): void {
      void mutate((key) => typeof key === "string" && prefixes.some((prefix) => key.startsWith(prefix)));
    }

    function hear(event: MessageEvent<string>): void {
      const { versions } = JSON.parse(event.data) as Told;
      const changed = Object.keys(versions).filter((topic) => versions[topic] !== seen[topic]);
      seen = { ...seen, ...versions };
      pause = FIRST_PAUSE;
      apiIsUp();
      streamIs(true);
      askAgain(changed.flatMap((topic) => ABOUT[topic] ?? []));
    }

    function lose(): void {
      streamIs(false);
      askAgain(["/api/"]);
      if (source?.readyState !== EventSource.CLOSED) return; // else the browser connects again by itself
      timer = setTimeout(follow, pause);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }

    function follow(): void {
      source = new EventSource("/api/events");
      source.addEventListener("hello", hear);
      source.addEventListener("change", hear);
      source.addEventListener("error", lose);
    }

    /** A page that nobody sees follows nothing: a browser has six connections to a host for all of its tabs. */
    function look(): void {
      clearTimeout(timer);
      if (document.visibilityState !== "visible") {
        source?.close();
        streamIs(false);
      } else if (source === undefined || source.readyState === EventSource.CLOSED) follow();
    }

    if (!hasSession) return;
    look();
    document.addEventListener("visibilitychange", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      clearTimeout(timer);
      source?.close();
      streamIs(false);
    };
    // Anew where the API went away or came back: a stream that was cut off in between may not know it.
  }, [mutate, hasSession, isDown]);

  return null;
}
