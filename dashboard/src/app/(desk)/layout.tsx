import Link from "next/link";
import { headers } from "next/headers";
import { redirect } from "next/navigation";
import type { ReactNode } from "react";
import { Live } from "@/live/live";
import { hasSession } from "@/server/session";
import { Brake } from "@/shell/brake";
import { LoginAgain } from "@/shell/login-again";
import { Mark } from "@/shell/mark";
import { Sidebar, Tabs } from "@/shell/navigation";
import { Outbox } from "@/shell/outbox";
import { Banners, Pulse } from "@/shell/status";

/** What is around every page: who we are, whether it is live, the kill switch, the way to the other pages. */
export default async function DeskLayout({ children }: { children: ReactNode }) {
  if (!hasSession(await headers())) redirect("/login");
  return (
    <>
      <a href="#page" className="sr-only focus:not-sr-only focus:fixed focus:left-3 focus:top-3 focus:z-50 focus:rounded-full focus:bg-accent focus:px-4 focus:py-2 focus:text-on-accent">
        Skip to the page
      </a>
      <header className="sticky top-0 z-20 border-b border-line bg-paper/95 backdrop-blur">
        <div className="mx-auto flex h-16 max-w-[90rem] items-center gap-3 px-4 sm:px-6">
          <Link href="/" prefetch={false} className="flex items-center gap-2.5 font-semibold">
            <Mark className="size-8" />
            <span className="sr-only sm:not-sr-only">AI Employee</span>
          </Link>
          <div className="ml-auto flex items-center gap-4">
            <Pulse />
            <Brake />
          </div>
        </div>
      </header>
      <div className="mx-auto flex max-w-[90rem] gap-10 px-4 pb-40 pt-6 sm:px-6 lg:pb-28">
        <Sidebar />
        <main id="page" tabIndex={-1} className="min-w-0 flex-1 outline-none">
          <Banners />
          {children}
        </main>
      </div>
      <Outbox />
      <Tabs />
      <Live />
      <LoginAgain />
    </>
  );
}
