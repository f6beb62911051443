import "server-only";
import { config } from "./config";
import { problem } from "./problem";

const READ_TIMEOUT = 30_000;
/** What asks servers of others, or waits for a sync. */
const LONG_TIMEOUT = 300_000;
const LONG_READS = ["/api/doctor"];
const LONGEST_BODY = 1024 * 1024;
const LONGEST_QUERY = 8_000;
const CONTENT_TYPES = ["application/json", "application/problem+json", "text/event-stream"];

/** Ask the API in the browser's stead. Nothing of the browser's headers goes on, and none of the API's comes back. */
export async function forward(request: Request, path: string): Promise<Response> {
  const { search } = new URL(request.url);
  if (search.length > LONGEST_QUERY) return problem(414, "too-long", "URI Too Long", "The query is too long.");
  const reads = request.method === "GET";
  const streams = path === "/api/events";
  const isQuick = reads && !LONG_READS.includes(path);
  const body = reads ? undefined : await bounded(request);
  if (body === null) return problem(413, "too-large", "Content Too Large", "The body may have at most 1 MiB.");
  const signals = streams
    ? [request.signal]
    : [AbortSignal.timeout(isQuick ? READ_TIMEOUT : LONG_TIMEOUT), ...(reads ? [request.signal] : [])];
  try {
    const answer = await fetch(`${config().apiUrl}${path}${search}`, {
      method: request.method,
      headers: headersFor(request, body !== undefined && body.byteLength > 0),
      body: body?.byteLength ? body : undefined,
      cache: "no-store",
      redirect: "manual",
      signal: AbortSignal.any(signals),
    });
    return relayed(answer);
  } catch (error) {
    if (request.signal.aborted) return new Response(null, { status: 499 });
    const why = error instanceof Error && error.name === "TimeoutError" ? "took too long" : "does not answer";
    return problem(502, "api-down", "Bad Gateway", `The node's API ${why}.`);
  }
}

function headersFor(request: Request, hasBody: boolean): Record<string, string> {
  const { apiToken } = config();
  const lastId = request.headers.get("last-event-id");
  return {
    Accept: CONTENT_TYPES.join(", "),
    ...(hasBody && { "Content-Type": "application/json" }),
    ...(apiToken && { Authorization: `Bearer ${apiToken}` }),
    ...(lastId && /^[\x21-\x7e]{1,200}$/.test(lastId) && { "Last-Event-ID": lastId }),
  };
}

function relayed(answer: Response): Response {
  const type = answer.headers.get("content-type") ?? "";
  if (answer.status === 401) {
    return problem(502, "api-token", "Bad Gateway", "The API refuses the dashboard's API_TOKEN. Both read the same setting.");
  }
  if (!CONTENT_TYPES.some((known) => type.startsWith(known))) {
    return problem(502, "api-down", "Bad Gateway", "What answers at DASHBOARD_API_URL is not the node's API.");
  }
  const headers: Record<string, string> = {
    "Content-Type": type,
    // no-transform: a compressed event stream would be held back until its buffer is full.
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
  };
  const retry = answer.headers.get("retry-after");
  if (retry) headers["Retry-After"] = retry;
  return new Response(answer.body, { status: answer.status, headers });
}

/** The body, or null where it is too large. */
async function bounded(request: Request): Promise<Buffer<ArrayBuffer> | null> {
  if (Number(request.headers.get("content-length") ?? 0) > LONGEST_BODY) return null;
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
    size += part.value.byteLength;
    if (size > LONGEST_BODY) return null;
    chunks.push(part.value);
  }
  return Buffer.concat(chunks);
}
