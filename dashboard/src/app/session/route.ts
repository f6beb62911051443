import { canLogIn, config } from "@/server/config";
import { isOwnPage } from "@/server/origin";
import { isPassword } from "@/server/password";
import { problem } from "@/server/problem";
import { isHttps, newSession, sessionCookie } from "@/server/session";
import { clientOf, Throttle } from "@/server/throttle";
import { ownPath } from "@/lib/own-path";

const LONGEST_FORM = 4096;
const throttle = new Throttle();

/**
 * Log in or out by a plain form, so that it works before any script has loaded. A page that stays where it is asks for
 * JSON, and gets a problem object or 204.
 */
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
  const stays = request.headers.get("accept") === "application/json";
  if (!canLogIn(config())) return stays ? problem(503, "no-password", "Service Unavailable", "No password is set.") : to("/login");
  const client = clientOf(request.headers);
  const wait = Math.ceil(throttle.take(client, Date.now()) / 1000);
  if (wait > 0) {
    if (stays) return problem(429, "too-many", "Too Many Requests", `Too many tries. Wait ${wait} seconds, then try again.`);
    return to(`/login?${new URLSearchParams({ next, wait: String(wait) })}`);
  }
  if (!(await isPassword(form.get("password") ?? "", config().passwordHash))) {
    console.warn("a wrong password was given");
    if (stays) return problem(403, "wrong-password", "Forbidden", "That is not the password.");
    return to(`/login?${new URLSearchParams({ next, wrong: "1" })}`);
  }
  throttle.forgive(client);
  const cookie = sessionCookie(newSession(Date.now()), https);
  if (stays) return new Response(null, { status: 204, headers: { "Set-Cookie": cookie, "Cache-Control": "no-store" } });
  return to(next, cookie);
}

function to(path: string, cookie?: string): Response {
  const headers = new Headers({ Location: path, "Cache-Control": "no-store" });
  if (cookie) headers.set("Set-Cookie", cookie);
  return new Response(null, { status: 303, headers });
}
