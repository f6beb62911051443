"use client";

/**
 * The approver key of this browser: Ed25519 (Web Cryptography Level 2: Chromium 137, Firefox 129, Safari 17). The private
 * half is not extractable: it lies in IndexedDB as a handle that signs, and no script can read it.
 */
import useSWR from "swr";
import { base64url } from "./statement";

export interface OwnKey {
  /** What the person calls this device; Local knows the key by it. */
  name: string;
  /** The public key, 32 bytes as base64url. */
  signer: string;
  pair: CryptoKeyPair;
}

/** Why this browser can't sign, and what to do about it. */
export class CannotSign extends Error {}

/** A name that Local takes for a person's device (`utils.core.signing.person`). */
export const NAME = "[A-Za-z0-9][A-Za-z0-9._\\-]{0,60}";

const DATABASE = "approver";
const STORE = "keys";
const OWN = "own";

export interface Own {
  /** null: there is none; undefined: not known (yet). */
  key: OwnKey | null | undefined;
  problem: CannotSign | undefined;
  make: (name: string) => Promise<void>;
  forget: () => Promise<void>;
}

/** The key of this browser. `isAsked`: only where it is of use is the browser asked for it. */
export function useOwnKey(isAsked: boolean): Own {
  const { data, error, mutate } = useSWR<OwnKey | null, CannotSign>(isAsked ? "approver-key" : null, find, {
    shouldRetryOnError: false,
  });
  return {
    key: data,
    problem: error,
    make: async (name) => void (await mutate(make(name))),
    forget: async () => void (await mutate(forget())),
  };
}

async function find(): Promise<OwnKey | null> {
  await generate(); // whether this browser can, said before anybody relies on it
  return (await inStore("readonly", (store) => store.get(OWN) as IDBRequest<OwnKey | undefined>)) ?? null;
}

async function make(name: string): Promise<OwnKey> {
  const pair = await generate();
  const key = { name, signer: base64url(await crypto.subtle.exportKey("raw", pair.publicKey)), pair };
  await inStore("readwrite", (store) => store.add(key, OWN)); // not `put`: another tab may have made one
  void navigator.storage.persist(); // asked for: else a browser that is short of space may throw it away
  return key;
}

async function forget(): Promise<null> {
  await inStore("readwrite", (store) => store.delete(OWN));
  return null;
}

async function generate(): Promise<CryptoKeyPair> {
  if (!window.isSecureContext) {
    throw new CannotSign(
      "A browser signs only on pages that come over HTTPS or from localhost. Put a proxy with TLS before this dashboard, or reach it by a tunnel (ssh -L 3000:127.0.0.1:3000 and the server's name) as http://localhost:3000.",
    );
  }
  try {
    return (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
  } catch {
    throw new CannotSign("This browser can't sign with Ed25519. Chrome and Edge can from version 137 on, Firefox from 129, Safari from 17.");
  }
}

/** One request to the store, done and on disk. */
async function inStore<Result>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<Result>): Promise<Result> {
  try {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => void opening.result.createObjectStore(STORE);
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      opening.onsuccess = () => resolve(opening.result);
      opening.onerror = () => reject(opening.error);
    });
    try {
      const transaction = database.transaction(STORE, mode, { durability: "strict" });
      const request = work(transaction.objectStore(STORE));
      await new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error);
      });
      return request.result;
    } finally {
      database.close();
    }
  } catch (error) {
    throw new CannotSign(`This browser's store of keys failed (${String(error)}). Load the page again; a private window may have none.`);
  }
}
