"use client";

import { LogIn } from "lucide-react";
import { Dialog as Radix } from "radix-ui";
import { useState, type SyntheticEvent } from "react";
import { sessionIs, useConnection } from "@/live/connection";
import { Button, Field, FIELD, Notice } from "@/ui/parts";

/** Over every page once the session has ended: what was typed stays, and goes on after the password. */
export function LoginAgain() {
  const { hasSession } = useConnection();
  return hasSession ? null : <Question />;
}

const stay = (event: Event): void => event.preventDefault();

function Question() {
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();

  async function logIn(event: SyntheticEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setProblem(undefined);
    try {
      const body = new URLSearchParams({ password });
      const answer = await fetch("/session", { method: "POST", headers: { Accept: "application/json" }, body });
      if (answer.ok) sessionIs(true);
      else setProblem(((await answer.json()) as { detail: string }).detail);
    } catch {
      setProblem("The dashboard's server can't be reached.");
    } finally {
      setBusy(false);
    }
  }

  return (
    <Radix.Root open>
      <Radix.Portal>
        <Radix.Overlay className="fixed inset-0 z-[60] bg-paper" />
        <Radix.Content
          onEscapeKeyDown={stay}
          onInteractOutside={stay}
          className="fixed inset-x-0 top-[12dvh] z-[70] mx-auto max-w-sm px-5"
        >
          <form className="space-y-5" onSubmit={(event) => void logIn(event)}>
            <Radix.Title className="text-2xl font-semibold tracking-tight">Log in again</Radix.Title>
            <Radix.Description className="text-soft">Your session has ended. What you typed is still there.</Radix.Description>
            <input type="text" name="username" autoComplete="username" defaultValue="owner" hidden readOnly />
            <Field label="Password">
              <input type="password" required autoComplete="current-password" className={FIELD} value={password} onChange={(event) => setPassword(event.target.value)} />
            </Field>
            {problem && (
              <Notice tone="danger" live="assertive">
                {problem}
              </Notice>
            )}
            <Button type="submit" kind="primary" icon={LogIn} busy={busy} className="w-full">
              Log in
            </Button>
          </form>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
