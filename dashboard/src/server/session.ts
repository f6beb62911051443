import "server-only";
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { canLogIn, config } from "./config";

export const SESSION_SECONDS = 7 * 24 * 3600;

interface Claims {
  /** When it ends, in seconds since 1970. */
  exp: number;
  /** Makes every session another one. */
  id: string;
}

/** A signed session that begins at `now` (ms). */
export function newSession(now: number): string {
  const claims: Claims = { exp: Math.floor(now / 1000) + SESSION_SECONDS, id: randomBytes(12).toString("base64url") };
  const body = Buffer.from(JSON.stringify(claims)).toString("base64url");
  return `${body}.${signature(body)}`;
}

/** Whether these request headers carry a session of ours that has not ended. */
export function hasSession(headers: Headers, now: number = Date.now()): boolean {
  if (!canLogIn(config())) return false;
  const [body, given] = (cookie(headers, cookieName(isHttps(headers))) ?? "").split(".");
  if (!body || !given || !same(given, signature(body))) return false;
  const claims = JSON.parse(Buffer.from(body, "base64url").toString()) as Claims;
  return claims.exp * 1000 > now;
}

/** `Set-Cookie` for a session; an empty `value` ends it. Over HTTPS it is bound to this host (RFC 6265bis, `__Host-`). */
export function sessionCookie(value: string, https: boolean): string {
  const age = value ? SESSION_SECONDS : 0;
  const secure = https ? "; Secure" : "";
  return `${cookieName(https)}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${age}${secure}`;
}

/** Whether the browser speaks HTTPS with us, by the word of the proxy before us. A browser that lied fools itself. */
export function isHttps(headers: Headers): boolean {
  return (headers.get("x-forwarded-proto") ?? "").split(",")[0]?.trim() === "https";
}

function cookieName(https: boolean): string {
  return https ? "__Host-session" : "session";
}

/** The key is of the secret and the password: a new password ends all sessions. */
function signature(body: string): string {
  const { secret, passwordHash } = config();
  const key = createHmac("sha256", secret).update(passwordHash).digest();
  return createHmac("sha256", key).update(body).digest("base64url");
}

function same(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function cookie(headers: Headers, name: string): string | undefined {
  return (headers.get("cookie") ?? "")
    .split(";")
    .map((part) => part.trim())
    .find((part) => part.startsWith(`${name}=`))
    ?.slice(name.length + 1);
}
