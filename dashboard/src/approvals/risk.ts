/** How much a request asks to be looked at. What a person sees first follows from it. Pure. */
import type { Approval, Severity } from "@/api/types";

export type Risk = "calm" | "look" | "danger";

const OF: Record<Severity, Risk> = { info: "calm", warning: "look", danger: "danger" };
const GRAVEST_FIRST: readonly Risk[] = ["danger", "look", "calm"];
const NEVER_TOGETHER = ["payment", "invoice"];

export function riskOf(approval: Approval): Risk {
  if (approval.problems.length > 0 || approval.action === null) return "danger";
  const found = approval.badges.map((badge) => OF[badge.severity]);
  if (approval.needs_confirmation) found.push("look");
  return GRAVEST_FIRST.find((risk) => found.includes(risk)) ?? "calm";
}

/** Whether it can be approved as it stands. */
export function canApprove(approval: Approval): boolean {
  return approval.problems.length === 0 && !approval.expired && approval.state !== "superseded" && approval.action !== null;
}

/** Whether it may be approved together with others: nothing about it asks to be looked at alone. */
export function isLowRisk(approval: Approval): boolean {
  return canApprove(approval) && riskOf(approval) === "calm" && !NEVER_TOGETHER.includes(approval.action ?? "");
}

/** Whether it is shown once more before it goes: what looks like a trick, and what moves money. */
export function asksTwice(approval: Approval): boolean {
  return riskOf(approval) === "danger" || NEVER_TOGETHER.includes(approval.action ?? "");
}

/** The gravest first, and of those the oldest: whoever waits longest comes next. */
export function byRiskAndAge(approvals: readonly Approval[]): Approval[] {
  return [...approvals].sort(
    (a, b) =>
      GRAVEST_FIRST.indexOf(riskOf(a)) - GRAVEST_FIRST.indexOf(riskOf(b)) ||
      (a.created ?? "").localeCompare(b.created ?? "") ||
      a.id.localeCompare(b.id),
  );
}

/** What it is about, in one line: the subject, else the first line of what would go out. */
export function about(approval: Approval): string {
  const text = approval.shown.find((line) => line.label === "Text")?.text ?? "";
  return approval.subject || text.trim().split("\n")[0]?.slice(0, 120) || approval.id;
}

/** Who gets it; for a post the place. */
export function toWhom(approval: Approval): string {
  if (approval.to.length > 0) return approval.to.join(", ");
  const known = ["To", "Payee", "Partner", "Page", "Account"];
  return approval.shown.find((line) => known.includes(line.label))?.text ?? "";
}
