// What proves that a call comes from the host process that opened the session (§2). Only its digest is stored.

import { hash, randomBytes, timingSafeEqual } from "node:crypto";

export const SECRET_BYTES = 32;

export function newSecret(): Uint8Array {
  return new Uint8Array(randomBytes(SECRET_BYTES));
}

export function secretDigest(secret: Uint8Array): Uint8Array {
  return new Uint8Array(hash("sha256", secret, "buffer"));
}

/** Takes the same time wherever the digests differ. */
export function secretsMatch(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
