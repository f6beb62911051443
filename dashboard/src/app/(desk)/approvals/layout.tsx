"use client";

import { useSelectedLayoutSegment } from "next/navigation";
import type { ReactNode } from "react";
import { ApprovalList } from "@/approvals/list";
import { cx } from "@/ui/parts";

/** The list; one request takes its place on a phone, and lies beside it on a wide screen. */
export default function ApprovalsLayout({ children }: { children: ReactNode }) {
  const isOpen = useSelectedLayoutSegment() !== null;
  return (
    <div className={cx(isOpen && "xl:grid xl:grid-cols-[minmax(20rem,2fr)_3fr] xl:gap-10")}>
      <div className={cx(isOpen && "hidden xl:block")}>
        <ApprovalList />
      </div>
      <div className="min-w-0">{children}</div>
    </div>
  );
}
