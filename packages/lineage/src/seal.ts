// How everything in Godwit is signed: Ed25519 over a prefix that belongs to the kind, and the payload as it is carried.
//
// 1. The payload is never encoded again: what was signed is what is verified, whoever has written it.
// 2. The prefix ends with a zero byte and no kind contains one, so a signature of one kind is never one of another.
// 3. That a signature verified is remembered under a digest of kind, key, signature and payload. All checkpoints of a
//    major carry the same grant, and a spine is shown again at every handoff: those cost one hash then.

import { hash, verify } from "node:crypto";
import { Fault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import { type Signer, verifyingKey } from "./keys.ts";
import { Lru } from "./lru.ts";

export type SealKind =
  | "grant"
  | "token"
  | "termination"
  | "checkpoint"
  | "mark"
  | "session-opening"
  | "reassertion"
  | "price-statement";

/** Nothing that is signed is larger. */
export const MAX_SEALED_BYTES = 64 * 1024;

export const SIGNATURE_BYTES = 64;

const MAX_REMEMBERED = 8192;
const remembered = new Lru<string, true>(MAX_REMEMBERED);

/** Signs a payload as what it is. Throws Fault RESOURCE_LIMIT above MAX_SEALED_BYTES. */
export function seal(kind: SealKind, payload: Uint8Array, signer: Signer): SignedBytes {
  checkSize(kind, payload);
  const prefix = PREFIXES[kind];
  const message = new Uint8Array(prefix.length + payload.length);
  message.set(prefix);
  message.set(payload, prefix.length);
  return { payload, signature: signer.sign(message) };
}

/**
 * The payload, once the holder of `publicKey` is known to have signed it as `kind`. Throws Fault SIGNATURE_INVALID;
 * RESOURCE_LIMIT above MAX_SEALED_BYTES.
 */
export function open(kind: SealKind, signed: SignedBytes, publicKey: Uint8Array): Uint8Array {
  const { payload, signature } = signed;
  checkSize(kind, payload);
  const key = verifyingKey(publicKey);
  if (signature.length !== SIGNATURE_BYTES) throw new Fault({ code: "SIGNATURE_INVALID", what: describe(kind) });

  const prefix = PREFIXES[kind];
  const front = publicKey.length + SIGNATURE_BYTES;
  const bytes = new Uint8Array(front + prefix.length + payload.length);
  bytes.set(publicKey);
  bytes.set(signature, publicKey.length);
  bytes.set(prefix, front);
  bytes.set(payload, front + prefix.length);

  const name = hash("sha256", bytes, "base64url");
  if (remembered.get(name) === true) return payload;
  if (!verify(null, bytes.subarray(front), key, signature)) {
    throw new Fault({ code: "SIGNATURE_INVALID", what: describe(kind) });
  }
  remembered.set(name, true);
  return payload;
}

const PREFIXES: Readonly<Record<SealKind, Uint8Array>> = {
  grant: prefixOf("grant"),
  token: prefixOf("token"),
  termination: prefixOf("termination"),
  checkpoint: prefixOf("checkpoint"),
  mark: prefixOf("mark"),
  "session-opening": prefixOf("session-opening"),
  reassertion: prefixOf("reassertion"),
  "price-statement": prefixOf("price-statement"),
};

function prefixOf(kind: SealKind): Uint8Array {
  return new TextEncoder().encode(`godwit/${kind}/v1\0`);
}

function describe(kind: SealKind): string {
  return `the ${kind.replace("-", " ")}`;
}

function checkSize(kind: SealKind, payload: Uint8Array): void {
  if (payload.length > MAX_SEALED_BYTES) {
    throw new Fault({ code: "RESOURCE_LIMIT", what: `the size of ${describe(kind)}`, limit: MAX_SEALED_BYTES });
  }
}
