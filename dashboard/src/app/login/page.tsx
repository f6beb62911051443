import { LogIn } from "lucide-react";
import type { Metadata } from "next";
import { headers } from "next/headers";
import { redirect } from "next/navigation";
import { ownPath } from "@/lib/own-path";
import { canLogIn, config } from "@/server/config";
import { isOwnHost } from "@/server/origin";
import { hasSession } from "@/server/session";
import { Button, Field, FIELD, Notice } from "@/ui/parts";
import { Mark } from "@/shell/mark";

export const metadata: Metadata = { title: "Log in · AI Employee" };

interface LoginProps {
  searchParams: Promise<Record<string, string | string[] | undefined>>;
}

/** A plain form: it works before, and without, any script. */
export default async function Login({ searchParams }: LoginProps) {
  const query = await searchParams;
  const next = ownPath(typeof query.next === "string" ? query.next : null);
  const asked = await headers();
  if (hasSession(asked)) redirect(next);
  return (
    <main className="mx-auto flex min-h-dvh max-w-sm flex-col justify-center px-5 py-10">
      <div className="mb-8 flex items-center gap-3">
        <Mark className="size-11" />
        <h1 className="text-2xl font-semibold tracking-tight">AI Employee</h1>
      </div>
      {!isOwnHost(asked) ? <ForeignName /> : canLogIn(config()) ? <Form next={next} problem={problem(query)} /> : <NoPassword />}
    </main>
  );
}

function problem(query: Record<string, string | string[] | undefined>): string | null {
  const wait = Number(query.wait);
  if (wait > 0) return `Too many tries. Wait ${Math.min(Math.ceil(wait), 3600)} seconds, then try again.`;
  return query.wrong ? "That is not the password." : null;
}

function Form({ next, problem }: { next: string; problem: string | null }) {
  return (
    <form method="post" action="/session" className="space-y-5">
      <input type="hidden" name="next" value={next} />
      <input type="text" name="username" autoComplete="username" defaultValue="owner" hidden readOnly />
      <Field label="Password">
        <input
          type="password"
          name="password"
          required
          autoFocus
          autoComplete="current-password"
          aria-invalid={problem ? true : undefined}
          aria-describedby={problem ? "problem" : undefined}
          className={FIELD}
        />
      </Field>
      {problem && (
        <div id="problem">
          <Notice tone="danger" live="assertive">
            {problem}
          </Notice>
        </div>
      )}
      <Button type="submit" kind="primary" icon={LogIn} className="w-full">
        Log in
      </Button>
      <p className="text-sm text-soft">
        The first start printed a password. Lost it? On this node, <code>./start_everything.sh password</code> makes a
        new one.
      </p>
    </form>
  );
}

function ForeignName() {
  return (
    <Notice tone="warn">
      <p className="font-semibold">This dashboard does not go by this name, so nobody can log in here.</p>
      <p className="mt-2">
        If the name is yours, set <code>DASHBOARD_URL</code> in <code>.env</code> to the address that you typed, and start
        the node again.
      </p>
    </Notice>
  );
}

function NoPassword() {
  return (
    <Notice tone="warn">
      <p className="font-semibold">No password is set yet, so nobody can log in.</p>
      <p className="mt-2">
        <code>./start_everything.sh</code> makes one. If you start the dashboard yourself, run{" "}
        <code>npm run hash-password</code> in <code>dashboard/</code>, put what it prints into <code>.env</code>, and a{" "}
        <code>DASHBOARD_SECRET</code> of at least 32 random characters beside it.
      </p>
    </Notice>
  );
}
