// The mark of the store (protocol §2): signed by the registry's key, compared in every atomic step.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { SignedBytes, StoreMark } from "@godwit/common/lease";
import { fromProtoSigned, open, type Signer, seal, toProtoSigned } from "@godwit/lineage";
import { SignedSchema } from "@godwit/proto/godwit/lineage/v1/lineage";
import { MarkSchema } from "@godwit/proto/godwit/registry/v1/session";

export interface Mark extends StoreMark {
  readonly signed: SignedBytes;
  /** As the store holds it. */
  readonly bytes: Uint8Array;
}

/** The same statement and key always give the same bytes, so two replicas that end one quarantine write one mark. */
export function signMark(statement: StoreMark, signer: Signer): Mark {
  const { incarnation, counter, storeIdentity, quarantine } = statement;
  const message = create(MarkSchema, { incarnation, counter, storeIdentity, quarantine });
  const signed = seal("mark", toBinary(MarkSchema, message), signer);
  const bytes = toBinary(SignedSchema, toProtoSigned(signed));
  return { incarnation, counter, storeIdentity, quarantine, signed, bytes };
}

/** The mark of a store that is new: counter 0. */
export function newMark(about: Pick<StoreMark, "incarnation" | "storeIdentity">, signer: Signer): Mark {
  return signMark({ ...about, counter: 0n, quarantine: false }, signer);
}

/** Undefined for bytes that the holder of this key has not signed as a mark. */
export function readMark(stored: Uint8Array, publicKey: Uint8Array): Mark | undefined {
  try {
    const bytes = new Uint8Array(stored);
    const signed = fromProtoSigned(fromBinary(SignedSchema, bytes));
    return { ...readShownMark(signed, publicKey), signed, bytes };
  } catch {
    return undefined; // damaged bytes and a foreign signature come to the same: nobody of ours wrote this
  }
}

/** A mark that a host shows. Throws Fault SIGNATURE_INVALID when this key has not signed it. */
export function readShownMark(signed: SignedBytes, publicKey: Uint8Array): StoreMark {
  const { incarnation, counter, storeIdentity, quarantine } = fromBinary(MarkSchema, open("mark", signed, publicKey));
  return { incarnation, counter, storeIdentity, quarantine };
}

const statements = new WeakMap<Uint8Array, StoreMark>();

/**
 * What a mark says, its signature unchecked: for whoever was given the bytes by one who has checked it. Read once for each
 * array, since every step of a store asks. Throws for bytes that are no mark.
 */
export function statementIn(bytes: Uint8Array): StoreMark {
  const known = statements.get(bytes);
  if (known !== undefined) return known;
  const { payload } = fromBinary(SignedSchema, bytes);
  const { incarnation, counter, storeIdentity, quarantine } = fromBinary(MarkSchema, payload);
  const statement = { incarnation, counter, storeIdentity, quarantine };
  statements.set(bytes, statement);
  return statement;
}
