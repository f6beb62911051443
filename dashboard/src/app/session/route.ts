import { canLogIn, config } from "@/server/config";
import { isOwnPage } from "@/server/origin";
import { isPassword } from "@/server/password";
import { problem } from "@/server/problem";
import { isHttps, newSession, sessionCookie } from "@/server/session";
import { clientOf, Throttle } from "@/server/throttle";
import { ownPath } from "@/lib/own-path";

const LONGEST_FORM = 4096;
const throttle = new Throttle();

/** Log in or out by a plain form, so that it works before any script has loaded. */
export async function POST(request: Request): Promise<Response> {
  if (!isOwnPage(request.headers)) {
    return problem(403, "foreign-origin", "Forbidden", "Pages of other sites may not use the dashboard.");
  }
  if (Number(request.headers.get("content-length") ?? LONGEST_FORM + 1) > LONGEST_FORM) {
    return problem(413, "too-large", "Content Too Large", "That is no password.");
  }
  const form = new URLSearchParams(await request.text());
  const https = isHttps(request.headers);
  if (form.get("end") !== null) return to("/login", sessionCookie("", https));

  const next = ownPath(form.get("next"));
  if (!canLogIn(config())) return to("/login");
  const client = clientOf(request.headers);
  const wait = throttle.take(client, Date.now());
  if (wait > 0) return to(`/login?${new URLSearchParams({ next, wait: String(Math.ceil(wait / 1000)) })}`);
  if (!(await isPassword(form.get("password") ?? "", config().passwordHash))) {
    console.warn("a wrong password was given");
    return to(`/login?${new URLSearchParams({ next, wrong: "1" })}`);
  }
  throttle.forgive(client);
  return to(next, sessionCookie(newSession(Date.now()), https));
}

function to(path: string, cookie?: string): Response {
  const headers = new Headers({ Location: path, "Cache-Control": "no-store" });
  if (cookie) headers.set("Set-Cookie", cookie);
  return new Response(null, { status: 303, headers });
}
