"use client";

import { CircleCheck, LogOut, OctagonAlert } from "lucide-react";
import type { Platinum } from "@/api/types";
import { useIsCloud } from "@/approvals/signed";
import { setShortcuts, useShortcutsOn } from "@/lib/shortcuts";
import { THEMES, type Theme } from "@/lib/theme";
import { duration } from "@/lib/time";
import { chooseTheme, useTheme } from "@/lib/use-theme";
import { plain } from "@/lib/words";
import { useApi } from "@/live/use-api";
import { ApproverKey } from "@/signing/approver-key";
import { Page, Shown } from "@/ui/page";
import { Button, Card, cx, Section } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Doctor } from "./doctor";

const KEYS: readonly (readonly [key: string, does: string])[] = [
  ["j, k", "down and up in a list"],
  ["Enter", "open"],
  ["a", "look once more, then Enter approves"],
  ["e", "edit"],
  ["n", "ask for a new draft"],
  ["s", "snooze"],
  ["r", "reject"],
  ["u", "back to the list"],
];

/** How the dashboard looks, and how the node is set up. The node's own settings stand in `.env`. */
export function Settings() {
  return (
    <Page title="Settings" lead="What is set up on this node, and how this page looks.">
      <Signing />
      <Doctor />
      <Modules />
      <Look />
      <Keys />
      <Section title="Session">
        <form method="post" action="/session">
          <input type="hidden" name="end" value="1" />
          <Button type="submit" icon={LogOut}>
            Log out
          </Button>
        </form>
      </Section>
    </Page>
  );
}

function Signing() {
  return useIsCloud() ? <ApproverKey /> : null;
}

function Modules() {
  const loaded = useApi<Platinum>("/api/platinum/status");
  return (
    <Section title="Parts of the node">
      <Shown of={loaded}>
        {({ modules, version, uptime_seconds: uptime }) => (
          <>
            <Card>
              <ul className="divide-y divide-line">
                {Object.entries(modules).map(([name, module]) => (
                  <li key={name} className="flex items-start gap-3 px-4 py-3">
                    {module.ok ? (
                      <CircleCheck aria-hidden className="mt-0.5 size-5 shrink-0 text-good" />
                    ) : (
                      <OctagonAlert aria-hidden className="mt-0.5 size-5 shrink-0 text-danger" />
                    )}
                    <p className="min-w-0">
                      <span className="font-medium">{plain(name)}</span>
                      <span className="sr-only">{module.ok ? " works" : " does not work"}</span>
                      <Inert text={module.detail} className="block text-sm text-soft" />
                    </p>
                  </li>
                ))}
              </ul>
            </Card>
            <p className="mt-2 text-sm text-soft">
              Version {version}, running for {duration(uptime)}.
            </p>
          </>
        )}
      </Shown>
    </Section>
  );
}

const NAMES: Record<Theme, string> = { auto: "As the system", light: "Light", dark: "Dark" };

function Look() {
  const current = useTheme();
  return (
    <Section title="Look">
      <div role="radiogroup" aria-label="Colours" className="inline-flex rounded-full border border-edge p-1">
        {THEMES.map((name) => (
          <label
            key={name}
            className={cx(
              "flex min-h-9 cursor-pointer items-center rounded-full px-4 text-[0.9375rem] has-[:focus-visible]:outline-2 has-[:focus-visible]:outline-accent",
              name === current ? "bg-accent text-on-accent" : "text-soft",
            )}
          >
            <input type="radio" name="theme" className="sr-only" checked={name === current} onChange={() => chooseTheme(name)} />
            {NAMES[name]}
          </label>
        ))}
      </div>
    </Section>
  );
}

function Keys() {
  const on = useShortcutsOn();
  return (
    <Section title="Keyboard">
      <Card>
        <label className="flex min-h-12 items-center gap-3 border-b border-line px-4">
          <input type="checkbox" className="size-5 accent-accent" checked={on} onChange={(event) => setShortcuts(event.target.checked)} />
          Answer with single keys
        </label>
        <dl className="grid grid-cols-[auto_1fr] items-center gap-x-4 gap-y-2 px-4 py-3.5 text-[0.9375rem]">
          {KEYS.map(([key, does]) => (
            <div key={key} className="contents">
              <dt>
                <kbd className="rounded-md border border-edge bg-sunk px-2 py-0.5 font-mono text-sm">{key}</kbd>
              </dt>
              <dd className="text-soft">{does}</dd>
            </div>
          ))}
        </dl>
      </Card>
    </Section>
  );
}
