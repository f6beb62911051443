"use client";

import { Dialog as Radix } from "radix-ui";
import type { ReactNode } from "react";

interface DialogProps {
  open: boolean;
  onClose: () => void;
  title: string;
  description?: ReactNode;
  children: ReactNode;
  /** The buttons at its end. */
  actions: ReactNode;
}

/** Begin at the element that is marked for it, else at the first. */
function focusMarked(event: Event): void {
  const marked = (event.currentTarget as HTMLElement).querySelector<HTMLElement>("[data-autofocus]");
  if (!marked) return;
  event.preventDefault();
  marked.focus();
}

/** A question that has to be answered first: a sheet from below on a phone, in the middle of larger screens. */
export function Dialog({ open, onClose, title, description, children, actions }: DialogProps) {
  return (
    <Radix.Root open={open} onOpenChange={(isOpen) => !isOpen && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className="fixed inset-0 z-40 bg-black/45" />
        <Radix.Content
          onOpenAutoFocus={focusMarked}
          {...(description ? {} : { "aria-describedby": undefined })}
          className="rise fixed inset-x-0 bottom-0 z-50 flex max-h-[92dvh] flex-col rounded-t-2xl border border-line bg-paper shadow-2xl sm:inset-x-auto sm:bottom-auto sm:left-1/2 sm:top-1/2 sm:w-[min(40rem,calc(100vw-3rem))] sm:-translate-x-1/2 sm:-translate-y-1/2 sm:rounded-2xl"
        >
          <div className="min-h-0 flex-1 space-y-4 overflow-y-auto px-5 pb-2 pt-5">
            <Radix.Title className="text-xl font-semibold tracking-tight">{title}</Radix.Title>
            {description && <Radix.Description className="text-soft">{description}</Radix.Description>}
            {children}
          </div>
          <div className="flex flex-col-reverse gap-2 px-5 pb-[max(1.25rem,env(safe-area-inset-bottom))] pt-3 sm:flex-row sm:justify-end">
            {actions}
          </div>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
