"use client";

import { Menu } from "lucide-react";
import Link from "next/link";
import { usePathname } from "next/navigation";
import { Dialog as Radix } from "radix-ui";
import { useState } from "react";
import { useApi } from "@/live/use-api";
import type { Approval } from "@/api/types";
import { cx } from "@/ui/parts";
import { AT_HAND, isAt, PLACES, type Place } from "./places";

/** How many requests wait, for the number beside "Approvals"; 0 while that is not known. */
function useWaiting(): number {
  const { data } = useApi<{ items: Approval[] }>("/api/approvals?limit=100");
  return data?.items.length ?? 0;
}

export function Sidebar() {
  const waiting = useWaiting();
  return (
    <nav aria-label="Pages" className="hidden w-52 shrink-0 lg:block">
      <ul className="sticky top-20 space-y-0.5">
        {PLACES.map((place) => (
          <li key={place.path}>
            <SideLink place={place} waiting={waiting} />
          </li>
        ))}
      </ul>
    </nav>
  );
}

function SideLink({ place, waiting, onGo }: { place: Place; waiting: number; onGo?: () => void }) {
  const here = isAt(place, usePathname());
  return (
    <Link
      href={place.path}
      prefetch={false}
      onClick={onGo}
      aria-current={here ? "page" : undefined}
      className={cx(
        "flex min-h-11 items-center gap-3 rounded-full px-4 text-[0.9375rem]",
        here ? "bg-accent-soft font-semibold text-accent" : "text-soft hover:bg-sunk hover:text-ink",
      )}
    >
      <place.icon aria-hidden className="size-[1.125rem]" />
      {place.name}
      {place.path === "/approvals" && <Waiting count={waiting} />}
    </Link>
  );
}

function Waiting({ count }: { count: number }) {
  if (count === 0) return null;
  return (
    <span className="ml-auto rounded-full bg-accent px-2 text-[0.8125rem] font-semibold text-on-accent">
      {count > 99 ? "99+" : count}
      <span className="sr-only"> wait for you</span>
    </span>
  );
}

/** At the thumb, on a phone. */
export function Tabs() {
  const pathname = usePathname();
  const waiting = useWaiting();
  const [open, setOpen] = useState(false);
  const elsewhere = !PLACES.slice(0, AT_HAND).some((place) => isAt(place, pathname));
  return (
    <nav
      aria-label="Pages"
      className="fixed inset-x-0 bottom-0 z-30 border-t border-line bg-paper pb-[env(safe-area-inset-bottom)] lg:hidden"
    >
      <ul className="mx-auto flex max-w-lg">
        {PLACES.slice(0, AT_HAND).map((place) => (
          <li key={place.path} className="flex-1">
            <Tab place={place} here={isAt(place, pathname)} waiting={waiting} />
          </li>
        ))}
        <li className="flex-1">
          <Radix.Root open={open} onOpenChange={setOpen}>
            <Radix.Trigger className={tabLook(elsewhere)}>
              <Menu aria-hidden className="size-[1.375rem]" />
              More
            </Radix.Trigger>
            <Radix.Portal>
              <Radix.Overlay className="fixed inset-0 z-40 bg-black/45" />
              <Radix.Content
                aria-describedby={undefined}
                className="rise fixed inset-x-0 bottom-0 z-50 rounded-t-2xl border border-line bg-paper px-3 pb-[max(1rem,env(safe-area-inset-bottom))] pt-4"
              >
                <Radix.Title className="px-4 pb-2 text-lg font-semibold">More pages</Radix.Title>
                <ul className="grid grid-cols-2 gap-1">
                  {PLACES.slice(AT_HAND).map((place) => (
                    <li key={place.path}>
                      <SideLink place={place} waiting={waiting} onGo={() => setOpen(false)} />
                    </li>
                  ))}
                </ul>
              </Radix.Content>
            </Radix.Portal>
          </Radix.Root>
        </li>
      </ul>
    </nav>
  );
}

function Tab({ place, here, waiting }: { place: Place; here: boolean; waiting: number }) {
  return (
    <Link href={place.path} prefetch={false} aria-current={here ? "page" : undefined} className={tabLook(here)}>
      <span className="relative">
        <place.icon aria-hidden className="size-[1.375rem]" />
        {place.path === "/approvals" && waiting > 0 && (
          <span className="absolute -right-3.5 -top-1.5 min-w-[1.125rem] rounded-full bg-accent px-1 text-center text-[0.6875rem] font-bold leading-[1.125rem] text-on-accent">
            {waiting > 99 ? "99+" : waiting}
            <span className="sr-only"> wait for you, </span>
          </span>
        )}
      </span>
      {place.name}
    </Link>
  );
}

function tabLook(here: boolean): string {
  return cx(
    "flex min-h-14 w-full flex-col items-center justify-center gap-0.5 text-xs",
    here ? "font-semibold text-accent" : "text-soft",
  );
}
