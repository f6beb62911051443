import { isOwnPage, mayRead } from "@/server/origin";
import { problem } from "@/server/problem";
import { allowed } from "@/server/routes";
import { hasSession } from "@/server/session";
import { forward } from "@/server/upstream";

interface Context {
  params: Promise<{ path: string[] }>;
}

/** The one way from the browser to the node: logged in, from a page of ours, and on the list. */
async function handle(request: Request, { params }: Context): Promise<Response> {
  const trusted = request.method === "GET" ? mayRead(request.headers) : isOwnPage(request.headers);
  if (!trusted) return problem(403, "foreign-origin", "Forbidden", "Pages of other sites may not use the dashboard.");
  if (!hasSession(request.headers)) return problem(401, "no-session", "Unauthorized", "Log in first.");
  const { path } = await params;
  const target = allowed(request.method, path);
  if (target === null) return problem(404, "not-found", "Not Found", "The dashboard does not pass this on.");
  return forward(request, target);
}

export { handle as DELETE, handle as GET, handle as POST, handle as PUT };
