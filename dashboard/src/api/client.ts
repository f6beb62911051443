import { apiIsDown, apiIsUp, sessionIs } from "@/live/connection";

/** An answer that is an error, as the API tells it (RFC 9457). `kind` is the last part of its type. */
export class Problem extends Error {
  readonly status: number;
  readonly kind: string;
  readonly body: Readonly<Record<string, unknown>>;

  constructor(status: number, body: Readonly<Record<string, unknown>>) {
    super(typeof body.detail === "string" ? body.detail : `The server answered ${status}.`);
    this.status = status;
    this.kind = typeof body.type === "string" ? (body.type.split(":").at(-1) ?? "") : "";
    this.body = body;
  }
}

type Method = "GET" | "POST" | "PUT" | "DELETE";

/** A little longer than the dashboard's server waits for the API (`upstream.ts`), in ms. */
const READ_TIMEOUT = 40_000;
const LONG_READS = ["/api/doctor"];

const NOT_THE_API = ["offline", "api-down", "api-token"];

/** Whether the API itself was not reached. The shell says so for all of the page. */
export function isAway(problem: Problem): boolean {
  return NOT_THE_API.includes(problem.kind);
}

/** Ask the API by way of the dashboard's server. Raises `Problem`, a lost network included (status 0). */
export async function call<Answer>(method: Method, path: string, body?: unknown): Promise<Answer> {
  let response: Response;
  let answer: unknown;
  try {
    response = await fetch(path, {
      method,
      signal: method === "GET" && !LONG_READS.some((long) => path.startsWith(long)) ? AbortSignal.timeout(READ_TIMEOUT) : undefined,
      headers: body === undefined ? undefined : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    answer = await read(response);
  } catch {
    apiIsDown("The dashboard's server can't be reached.");
    throw new Problem(0, { type: "offline", detail: "The dashboard's server can't be reached." });
  }
  if (response.ok) {
    apiIsUp();
    return answer as Answer;
  }
  const problem = new Problem(response.status, answer as Record<string, unknown>);
  if (problem.kind === "no-session") sessionIs(false); // the shell asks for the password, and the page stays as it is
  else if (isAway(problem)) apiIsDown(problem.message);
  else apiIsUp();
  throw problem;
}

/** What came. An error may be of a proxy, and no JSON; an answer that breaks off is none, and throws. */
async function read(response: Response): Promise<unknown> {
  return response.ok ? response.json() : response.json().catch(() => ({}));
}

/** `/api/…` with query parameters; what is empty is left out. */
export function withQuery(path: string, parameters: Record<string, string | number | boolean | undefined>): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== "");
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return given.length ? `${path}?${query}` : path;
}
