import "server-only";

/** What the server needs to know. It is read when it is asked for: the build has none of it. */
export interface Config {
  /** Where the node's API answers, without a slash at the end. */
  apiUrl: string;
  /** Bearer token of the API; empty where the API serves this machine alone. */
  apiToken: string;
  /** `scrypt:N:r:p:salt:key`, as `npm run hash-password` prints it. */
  passwordHash: string;
  /** What session cookies are signed with. */
  secret: string;
  /** The name that browsers know this dashboard by (`DASHBOARD_URL`'s), in lower case; empty: it has none. */
  name: string;
}

const SHORTEST_SECRET = 32;

export function config(): Config {
  const env = process.env;
  return {
    apiUrl: (env.DASHBOARD_API_URL || "http://127.0.0.1:9000").replace(/\/+$/, ""),
    apiToken: env.API_TOKEN ?? "",
    passwordHash: env.DASHBOARD_PASSWORD_HASH ?? "",
    secret: env.DASHBOARD_SECRET ?? "",
    name: nameIn(env.DASHBOARD_URL ?? ""),
  };
}

/** Whether anybody can log in. Without a password hash or a secret nobody can, on loopback neither. */
export function canLogIn({ passwordHash, secret }: Config): boolean {
  return passwordHash !== "" && secret.length >= SHORTEST_SECRET;
}

function nameIn(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname : "";
}
