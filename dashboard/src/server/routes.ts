import "server-only";
import type { paths } from "@/api/schema";

type Method = "GET" | "POST" | "PUT" | "DELETE";

/** All of the API that the browser may use; a path that the API does not have is a type error. */
const ALLOWED = {
  "/api/actions": ["GET"],
  "/api/actions/{action}/cancel": ["POST"],
  "/api/actions/{action}/settle": ["POST"],
  "/api/alerts": ["GET"],
  "/api/alerts/silences": ["GET", "POST"],
  "/api/alerts/silences/{silence}": ["DELETE"],
  "/api/answers": ["GET"],
  "/api/approvals": ["GET"],
  "/api/approvals/{request_id}": ["GET", "PUT"],
  "/api/approvals/{request_id}/approve": ["POST"],
  "/api/approvals/{request_id}/reject": ["POST"],
  "/api/approvals/{request_id}/revise": ["POST"],
  "/api/approvals/{request_id}/snooze": ["POST"],
  "/api/claims": ["GET"],
  "/api/doctor": ["GET"],
  "/api/events": ["GET"],
  "/api/health/detailed": ["GET"],
  "/api/health/history": ["GET"],
  "/api/platinum/status": ["GET"],
  "/api/stop": ["GET", "POST", "DELETE"],
  "/api/tasks": ["GET"],
  "/api/tasks/{task}": ["GET"],
  "/api/vault/conflicts": ["GET"],
  "/api/vault/conflicts/{conflict}": ["GET"],
  "/api/vault/conflicts/{conflict}/dismiss": ["POST"],
  "/api/vault/conflicts/{conflict}/take-theirs": ["POST"],
  "/api/vault/sync/runs": ["GET"],
  "/api/vault/sync/status": ["GET"],
  "/api/vault/sync/trigger": ["POST"],
  "/api/zones/health": ["GET"],
  "/api/zones/status": ["GET"],
  "/api/zones/switch": ["POST"],
} satisfies { [Path in keyof paths]?: Method[] };

const ROUTES = Object.entries(ALLOWED).map(([path, methods]) => ({
  parts: path.split("/").slice(2),
  methods: methods as readonly string[],
}));

const LONGEST_PART = 300;
const NEVER_IN_A_PART = /[/\\\u0000-\u001f\u007f]/;

/** The address below the API for these decoded path parts (those after `/api`), or null where it is not allowed. */
export function allowed(method: string, parts: readonly string[]): string | null {
  const found = ROUTES.some((route) => route.methods.includes(method) && fits(route.parts, parts));
  return found ? `/api/${parts.map(encodeURIComponent).join("/")}` : null;
}

function fits(pattern: readonly string[], parts: readonly string[]): boolean {
  return (
    pattern.length === parts.length &&
    parts.every((part, index) => {
      const wanted = pattern[index] ?? "";
      return wanted.startsWith("{") ? isPlain(part) : wanted === part;
    })
  );
}

function isPlain(part: string): boolean {
  return part !== "" && part !== "." && part !== ".." && part.length <= LONGEST_PART && !NEVER_IN_A_PART.test(part);
}
