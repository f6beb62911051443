import { AlertTriangle, Info, OctagonAlert } from "lucide-react";
import type { Approval, Severity } from "@/api/types";
import { cx } from "@/ui/parts";
import { Inert } from "@/ui/text";

const LOOKS: Record<Severity, readonly [icon: typeof Info, look: string, word: string]> = {
  danger: [OctagonAlert, "text-danger", "Danger"],
  warning: [AlertTriangle, "text-warn", "Look"],
  info: [Info, "text-soft", "Good to know"],
};

/** What to look at before approving, the gravest first, in whole sentences: what this node judges, then what was
 * written into the request when it was drafted. */
export function Badges({ approval }: { approval: Approval }) {
  const { badges, problems } = approval;
  const said = new Set(badges.map(({ words }) => words));
  const risk = [...new Set(approval.risk)].filter((words) => !said.has(words));
  if (badges.length + problems.length + risk.length === 0) return null;
  const isGrave = problems.length > 0 || badges.some((badge) => badge.severity === "danger");
  return (
    <ul
      aria-label="What to look at"
      className={cx("space-y-2.5 rounded-card px-4 py-3.5", isGrave ? "bg-danger-soft" : "bg-warn-soft", "has-[[data-calm]:only-child]:bg-sunk")}
    >
      {problems.map((words) => (
        <Line key={words} severity="danger" words={words} />
      ))}
      {badges.map((badge) => (
        <Line key={badge.kind + badge.words} severity={badge.severity} words={badge.words} />
      ))}
      {risk.map((words) => (
        <Line key={words} severity="warning" words={words} />
      ))}
    </ul>
  );
}

function Line({ severity, words }: { severity: Severity; words: string }) {
  const [Icon, look, word] = LOOKS[severity];
  return (
    <li data-calm={severity === "info" || undefined} className="flex items-start gap-3 text-[0.9375rem] leading-snug">
      <Icon aria-hidden className={cx("mt-0.5 size-[1.125rem] shrink-0", look)} />
      <span className="min-w-0">
        <span className="sr-only">{word}: </span>
        <Inert text={words} />
      </span>
    </li>
  );
}
