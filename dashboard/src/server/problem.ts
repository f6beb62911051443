import "server-only";

/** An error of the dashboard's own server as a problem object (RFC 9457), like the API's. */
export function problem(status: number, kind: string, title: string, detail: string): Response {
  const body = { type: `urn:ai-employee:problem:${kind}`, title, status, detail };
  return Response.json(body, {
    status,
    headers: { "Content-Type": "application/problem+json", "Cache-Control": "no-store" },
  });
}
