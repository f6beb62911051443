import { randomBytes } from "node:crypto";
import { NextResponse, type NextRequest } from "next/server";
import { hasSession, isHttps } from "@/server/session";

/**
 * Pages: a Content-Security-Policy with a nonce of its own for each (Next's guide "Content Security Policy"), and the
 * way to the login. What a page shows comes from `/api`, which looks at the session itself.
 */
export function proxy(request: NextRequest): NextResponse {
  const { pathname } = request.nextUrl;
  const nonce = randomBytes(16).toString("base64");
  const policy = contentSecurityPolicy(nonce, isHttps(request.headers));
  const response = !isAddress(pathname)
    ? new NextResponse(null, { status: 400 })
    : pathname === "/login" || hasSession(request.headers)
      ? passOn(request, nonce, policy)
      : toLogin(request);
  response.headers.set("Content-Security-Policy", policy);
  response.headers.set("Cache-Control", "no-store");
  return response;
}

/** Whether it can be read: Next answers a broken percent sign with a bare 500. */
function isAddress(pathname: string): boolean {
  try {
    decodeURIComponent(pathname);
    return true;
  } catch {
    return false;
  }
}

function passOn(request: NextRequest, nonce: string, policy: string): NextResponse {
  const headers = new Headers(request.headers);
  headers.set("x-nonce", nonce);
  headers.set("Content-Security-Policy", policy); // Next takes the nonce for its own scripts from here
  return NextResponse.next({ request: { headers } });
}

function toLogin(request: NextRequest): NextResponse {
  const { pathname } = request.nextUrl;
  const login = new URL("/login", request.nextUrl);
  if (pathname !== "/") login.searchParams.set("next", pathname);
  return NextResponse.redirect(login);
}

function contentSecurityPolicy(nonce: string, https: boolean): string {
  const isDevelopment = process.env.NODE_ENV === "development";
  return [
    "default-src 'none'",
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${isDevelopment ? " 'unsafe-eval'" : ""}`,
    `style-src 'self' 'nonce-${nonce}'`,
    "img-src 'self'",
    "font-src 'self'",
    "connect-src 'self'",
    "manifest-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    ...(https ? ["upgrade-insecure-requests"] : []),
  ].join("; ");
}

export const config = {
  // All but what has a policy of its own (`next.config.ts`). A name is whole: `/icons` is a page, if only of an error.
  matcher: ["/((?!api/|session$|_next/static/|icon\\.svg$|apple-icon\\.png$|manifest\\.webmanifest$).*)"],
};
