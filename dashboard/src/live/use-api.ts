"use client";

import { useState } from "react";
import useSWR, { type SWRConfiguration } from "swr";
import { call, withQuery, type Problem } from "@/api/client";
import { useConnection } from "./connection";

export interface Loaded<Answer> {
  /** The newest answer, which is kept while the API is away. */
  data: Answer | undefined;
  /** When it came, in ms. */
  at: number | undefined;
  /** The question that it answers: while another is on its way, the one before. */
  to: string | undefined;
  problem: Problem | undefined;
  isLoading: boolean;
  /** Ask again now. */
  refresh: () => Promise<unknown>;
}

interface Stamped<Answer> {
  answer: Answer;
  at: number;
  path: string;
}

/** How often it is asked where no event tells, in ms. */
export const POLL = 10_000;

/** What the API answers at `path` (null: not asked), asked again when an event says that it changed. */
export function useApi<Answer>(path: string | null, options: SWRConfiguration = {}): Loaded<Answer> {
  const { live, api } = useConnection();
  const { data, error, isLoading, mutate } = useSWR<Stamped<Answer>, Problem>(path, ask, {
    keepPreviousData: true,
    refreshInterval: live && api === "up" ? 0 : POLL,
    ...options,
  });
  return { data: data?.answer, at: data?.at, to: data?.path, problem: error, isLoading, refresh: mutate };
}

async function ask<Answer>(path: string): Promise<Stamped<Answer>> {
  const answer = await call<Answer>("GET", path);
  return { answer, at: Date.now(), path };
}

interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
}

export interface LoadedList<Item> extends Loaded<Page<Item>> {
  items: Item[] | undefined;
  /** Show more; undefined where all is shown, or as much as the API gives at once. */
  more: (() => void) | undefined;
  isAll: boolean;
}

const STEP = 50;
const MOST = 500;

/** The front of a list, which grows on demand; it stays one question, so that it is always of one moment. */
export function useList<Item>(
  path: string,
  parameters: Record<string, string | number | boolean | undefined> = {},
): LoadedList<Item> {
  const [limit, setLimit] = useState(STEP);
  const list = withQuery(path, parameters);
  const front = `${list}${list.includes("?") ? "&" : "?"}limit=`;
  const loaded = useApi<Page<Item>>(`${front}${limit}`);
  // More of the same list comes in place; what another filter found is not shown as what this one finds.
  const data = loaded.to?.startsWith(front) ? loaded.data : undefined;
  const isAll = data?.next_cursor === null;
  return {
    ...loaded,
    data,
    items: data?.items,
    more: isAll || limit >= MOST ? undefined : () => setLimit(Math.min(limit * 2, MOST)),
    isAll,
  };
}
