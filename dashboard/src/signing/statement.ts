/**
 * The approval that is signed, as docs/approvals-signing.md has it (version 1). It is made here of what the page shows;
 * no word of it is taken from a server's statement.
 */
import type { OwnKey } from "./own-key";

/** What a person approves: these words of this request's file, until the request's own time ends. */
export interface Shown {
  request: string;
  action: string;
  content: string;
  expires: Date;
}

export interface Statement {
  type: "approval";
  version: 1;
  request: string;
  action: string;
  sha256: string;
  signer: string;
  time: string;
  expires: string;
  nonce: string;
  signature: string;
}

const DOMAIN = "ai-employee/approval/v1";
const SIGNED = ["request", "action", "sha256", "signer", "time", "expires", "nonce"] as const;

/** SHA-256 of the UTF-8 bytes of `text`, 64 hex digits. */
export async function sha256(text: string): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
}

/** The signed approval of what is shown, given now. */
export async function sign(key: OwnKey, { request, action, content, expires }: Shown): Promise<Statement> {
  const statement = {
    type: "approval",
    version: 1,
    request,
    action,
    sha256: await sha256(content),
    signer: key.signer,
    time: second(new Date()),
    expires: second(expires),
    nonce: hex(crypto.getRandomValues(new Uint8Array(16))),
  } as const;
  return { ...statement, signature: base64url(await crypto.subtle.sign("Ed25519", key.pair.privateKey, toSign(statement))) };
}

function toSign(statement: Omit<Statement, "signature">): Uint8Array<ArrayBuffer> {
  const lines = [DOMAIN, ...SIGNED.map((name) => `${name}=${statement[name]}`)];
  return new TextEncoder().encode(lines.map((line) => `${line}\n`).join(""));
}

export function base64url(bytes: ArrayBuffer): string {
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** "2026-06-01T12:00:00Z" */
function second(moment: Date): string {
  return `${moment.toISOString().slice(0, 19)}Z`;
}
