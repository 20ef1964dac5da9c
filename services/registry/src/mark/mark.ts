// The mark of the store (protocol §2): made once with the signing key, signed by it, compared in every atomic step.

import { randomUUID } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { SignedBytes } from "@godwit/common/lease";
import { fromProtoSigned, open, type Signer, seal, toProtoSigned } from "@godwit/lineage";
import { SignedSchema } from "@godwit/proto/godwit/lineage/v1/lineage";
import { MarkSchema } from "@godwit/proto/godwit/registry/v1/session";

export interface Mark {
  readonly incarnation: string;
  readonly counter: bigint;
  readonly quarantine: boolean;
  readonly signed: SignedBytes;
  /** As the store holds it. */
  readonly bytes: Uint8Array;
}

/** The mark of a store that is new: counter 0. */
export function newMark(storeIdentity: string, signer: Signer): Mark {
  const statement = create(MarkSchema, { incarnation: randomUUID(), counter: 0n, storeIdentity, quarantine: false });
  const signed = seal("mark", toBinary(MarkSchema, statement), signer);
  const bytes = toBinary(SignedSchema, toProtoSigned(signed));
  return { incarnation: statement.incarnation, counter: 0n, quarantine: false, signed, bytes };
}

/** Undefined for bytes that the holder of this key has not signed as a mark. */
export function readMark(stored: Uint8Array, publicKey: Uint8Array): Mark | undefined {
  try {
    const bytes = new Uint8Array(stored);
    const signed = fromProtoSigned(fromBinary(SignedSchema, bytes));
    const { incarnation, counter, quarantine } = fromBinary(MarkSchema, open("mark", signed, publicKey));
    return { incarnation, counter, quarantine, signed, bytes };
  } catch {
    return undefined; // damaged bytes and a foreign signature come to the same: nobody of ours wrote this
  }
}
