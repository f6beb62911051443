// Prints the setting DASHBOARD_PASSWORD_HASH for a password that is typed, or comes on standard input.
import { randomBytes, scryptSync } from "node:crypto";
import { createInterface } from "node:readline/promises";

const COST = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 1024 * 1024 };
const SHORTEST = 12;

const lines = createInterface({ input: process.stdin });
if (process.stdin.isTTY) process.stderr.write(`A password of at least ${SHORTEST} characters: `);
const password = (await lines[Symbol.asyncIterator]().next()).value ?? "";
lines.close();
if (password.length < SHORTEST) {
  console.error(`The password must have at least ${SHORTEST} characters.`);
  process.exit(2);
}
const salt = randomBytes(16);
const key = scryptSync(password.normalize("NFKC"), salt, 32, COST);
const hash = [`scrypt:${COST.N}:${COST.r}:${COST.p}`, salt.toString("base64url"), key.toString("base64url")].join(":");
console.log(`DASHBOARD_PASSWORD_HASH=${hash}`);
