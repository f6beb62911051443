/** The project's terms in a person's words. */
import type { ActionState, Stage } from "@/api/types";

const ACTIONS: Record<string, string> = {
  send_email: "E-mail",
  reply_email: "Reply",
  forward_email: "Forward",
  linkedin_post: "LinkedIn post",
  facebook_post: "Facebook post",
  instagram_post: "Instagram post",
  twitter_post: "Post on X",
  whatsapp_send: "WhatsApp message",
  payment: "Payment",
  invoice: "Invoice",
};

export function actionName(action: string | null): string {
  return action === null ? "Unreadable request" : (ACTIONS[action] ?? action);
}

/** How a command of ours is run on the other node (`utils.core.commands.elsewhere`). */
export function commandElsewhere(words: string): string {
  return `.venv/bin/python -m scripts.${words}`;
}

/** What the button says that approves it. */
export function approveWord(action: string | null): string {
  if (action === "payment") return "Approve and pay";
  if (action === "invoice") return "Approve and issue";
  return action?.endsWith("_post") ? "Approve and post" : "Approve and send";
}

export const STAGES: Record<Stage, string> = {
  inbox: "Inbox",
  needs_action: "Needs action",
  in_progress: "In progress",
  pending_approval: "Pending approval",
  approved: "Approved",
  rejected: "Rejected",
  done: "Done",
  quarantine: "Quarantine",
};

export const ACTION_STATES: Record<ActionState, string> = {
  approved: "Waiting",
  sending: "Being sent",
  done: "Done",
  failed: "Failed",
  unknown: "Unknown",
  void: "Taken back",
};

/** "1 task", "2 tasks". */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

const NAMES: Record<string, string> = { noop: "Nothing to do", ok: "Done", api: "API", email: "E-mail", mcp: "MCP", imap: "IMAP", smtp: "SMTP", whatsapp: "WhatsApp" };

/** `some_words` as "Some words". */
export function plain(name: string): string {
  const known = NAMES[name.toLowerCase()];
  if (known) return known;
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
