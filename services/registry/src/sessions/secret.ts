// What proves that a call comes from the host process that opened the session (§2). Only its digest is stored.

import { hash, randomBytes, timingSafeEqual } from "node:crypto";
import type { SessionId } from "@godwit/common/lease";
import type { Signer } from "@godwit/lineage";

export const SECRET_BYTES = 32;

export function newSecret(): Uint8Array {
  return new Uint8Array(randomBytes(SECRET_BYTES));
}

/**
 * Of a session that is brought back under an incarnation, which takes several calls, to any replica: each of them gives the
 * same one. Nobody else can make it, since it comes out of a signature that is never shown.
 */
export function reassertedSecret({ hostId, bootId }: SessionId, incarnation: string, signer: Signer): Uint8Array {
  const named = new TextEncoder().encode(["godwit/session-secret/v1", hostId, bootId, incarnation].join("\0"));
  return new Uint8Array(hash("sha256", signer.sign(named), "buffer"));
}

export function secretDigest(secret: Uint8Array): Uint8Array {
  return new Uint8Array(hash("sha256", secret, "buffer"));
}

/** Takes the same time wherever the digests differ. */
export function secretsMatch(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
