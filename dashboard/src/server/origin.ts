import "server-only";
import { isIP } from "node:net";
import { config } from "./config";

/**
 * Whether a request that changes something comes from a page of ours: the browser names our own host as its `Origin`,
 * and, where it tells (Fetch Metadata), calls it `same-origin`. A browser always sends `Origin` with POST, PUT and
 * DELETE (Fetch §3.2); whoever sends none is no page.
 */
export function isOwnPage(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  const origin = headers.get("origin");
  if (site !== null && site !== "same-origin") return false;
  if (origin === null || !URL.canParse(origin)) return false;
  return new URL(origin).host === headers.get("host") && isOwnHost(headers);
}

/**
 * Whether the host that is asked for is one of ours: an address, this machine, or the name in `DASHBOARD_URL`. Any other
 * name may be a stranger's that leads here, and its pages then count as of the same origin (DNS rebinding).
 */
export function isOwnHost(headers: Headers): boolean {
  const url = `http://${headers.get("host") ?? ""}`;
  if (!URL.canParse(url)) return false;
  const { hostname } = new URL(url);
  return isIP(hostname.replace(/^\[|\]$/g, "")) !== 0 || hostname === "localhost" || hostname === config().name;
}

/** Whether a request that only reads may be answered: not one that a foreign page makes the browser send. */
export function mayRead(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  return site === null || site === "same-origin" || site === "none";
}
