"use client";

import { useEffect } from "react";
import { Page } from "@/ui/page";
import { Button, Notice } from "@/ui/parts";

interface ErrorProps {
  error: Error;
  reset: () => void;
}

/** A fault of ours on one page: the shell with the kill switch stays. */
export default function Fault({ error, reset }: ErrorProps) {
  useEffect(() => {
    console.error(error);
  }, [error]);
  return (
    <Page title="This page failed">
      <Notice tone="danger" live="assertive">
        <p>Something went wrong in the page itself. Nothing was approved or sent by that.</p>
        <Button className="mt-3" onClick={reset}>
          Try again
        </Button>
      </Notice>
    </Page>
  );
}
