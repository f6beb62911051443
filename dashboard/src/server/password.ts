import "server-only";
import { scrypt, timingSafeEqual } from "node:crypto";

/** A key that was cut short, in bytes: many a password would fit it, and any fits none. */
const SHORTEST_KEY = 16;
/** More than any real hash asks for; a mistyped one must not take the machine's memory. */
const MAX_MEMORY = 256 * 1024 * 1024;

let turn: Promise<unknown> = Promise.resolve();

/**
 * Whether `password` is the one that `hash` (`scrypt:N:r:p:salt:key`, salt and key in base64url, RFC 7914) was made
 * from. One at a time: a hash takes 32 MiB and some 100 ms, and a crowd of guesses must not take all there is.
 */
export function isPassword(password: string, hash: string): Promise<boolean> {
  const verdict = turn.then(() => verify(password, hash));
  turn = verdict.catch(() => undefined);
  return verdict;
}

async function verify(password: string, hash: string): Promise<boolean> {
  const [name, n, r, p, salt, key] = hash.split(":");
  if (name !== "scrypt" || !n || !r || !p || !salt || !key) return false;
  const expected = Buffer.from(key, "base64url");
  if (expected.length < SHORTEST_KEY) return false;
  const given = await derive(password, Buffer.from(salt, "base64url"), expected.length, {
    N: Number(n),
    r: Number(r),
    p: Number(p),
    maxmem: MAX_MEMORY,
  });
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function derive(
  password: string,
  salt: Buffer,
  length: number,
  cost: { N: number; r: number; p: number; maxmem: number },
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password.normalize("NFKC"), salt, length, cost, (error, key) => (error ? reject(error) : resolve(key)));
  });
}
