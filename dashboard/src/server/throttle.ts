import "server-only";

const FREE_TRIES = 5;
const FIRST_WAIT = 15_000;
const LONGEST_WAIT = 15 * 60_000;
const FORGET_AFTER = 60 * 60_000;
/** Tries of all clients together within an hour: somebody who comes from everywhere does not get further. */
const ALL_TRIES = 200;
const MOST_CLIENTS = 10_000;

interface Tries {
  count: number;
  blockedUntil: number;
  last: number;
}

/** Counts tries to log in. A try counts before its password is looked at, so many at once gain nothing. */
export class Throttle {
  private readonly clients = new Map<string, Tries>();
  private all: number[] = [];

  /** Take a try for `client`: 0 where it may go on, else the milliseconds to wait. */
  take(client: string, now: number): number {
    this.forget(now);
    const tries = this.clients.get(client) ?? { count: 0, blockedUntil: 0, last: now };
    if (tries.blockedUntil > now) return tries.blockedUntil - now;
    const oldest = this.all[0];
    if (this.all.length >= ALL_TRIES && oldest !== undefined) return oldest + FORGET_AFTER - now;
    tries.count += 1;
    tries.last = now;
    if (tries.count >= FREE_TRIES) {
      tries.blockedUntil = now + Math.min(FIRST_WAIT * 2 ** (tries.count - FREE_TRIES), LONGEST_WAIT);
    }
    this.clients.set(client, tries);
    this.all.push(now);
    return 0;
  }

  /** `client` knew the password. */
  forgive(client: string): void {
    const tries = this.clients.get(client);
    this.clients.delete(client);
    if (tries) this.all.splice(-Math.min(tries.count, this.all.length));
  }

  private forget(now: number): void {
    this.all = this.all.filter((at) => at > now - FORGET_AFTER);
    for (const [client, tries] of this.clients) {
      if (tries.last < now - FORGET_AFTER || this.clients.size > MOST_CLIENTS) this.clients.delete(client);
    }
  }
}

/** Who asks: the address that the proxy next to us saw, which is the last of the list (it appends, RFC 7239 §5.2). */
export function clientOf(headers: Headers): string {
  return (headers.get("x-forwarded-for") ?? "").split(",").at(-1)?.trim() || "unknown";
}
