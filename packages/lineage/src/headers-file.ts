// Signed headers as a file, to be carried to somebody who trusts nobody on the way. README.md has the layout.
//
// One encoding for one content, so that two people who have the same evidence have the same file. Nothing is allocated on
// the word of a length in it, and nothing in it is believed: what the headers prove is for verifyLineage and
// checkDoubleSigning to say.

import type { SignedBytes } from "@godwit/common/lease";
import { MAX_HEADER_BYTES } from "./header.ts";
import { SIGNATURE_BYTES } from "./seal.ts";
import type { Complaint } from "./wire.ts";

export interface HeadersFile {
  /** Of the registry that whoever wrote it had asked: a hint, never a reason to trust it. 32 bytes. */
  readonly registryPublicKey: Uint8Array;
  readonly headers: readonly SignedBytes[];
}

/** Four letters that tell the kinds of file apart. */
export type FileKind = "GWLN" | "GWEV";

const VERSION = 1;
const KEY_BYTES = 32;
const FRONT_BYTES = 4 + 4 + KEY_BYTES + 4;

/** Throws what `complain` makes for a key or a header that could not be read back. */
export function encodeHeadersFile(kind: FileKind, { registryPublicKey, headers }: HeadersFile, complain: Complaint) {
  if (registryPublicKey.length !== KEY_BYTES)
    throw complain(`the registry's key has ${registryPublicKey.length} bytes`);
  for (const { payload, signature } of headers) {
    if (payload.length > MAX_HEADER_BYTES) throw complain(`a header has more than ${MAX_HEADER_BYTES} bytes`);
    if (signature.length !== SIGNATURE_BYTES) throw complain("a signature is malformed");
  }
  const size = headers.reduce((sum, { payload }) => sum + 4 + payload.length + SIGNATURE_BYTES, FRONT_BYTES);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(kind));
  view.setUint32(4, VERSION, true);
  bytes.set(registryPublicKey, 8);
  view.setUint32(8 + KEY_BYTES, headers.length, true);
  let at = FRONT_BYTES;
  for (const { payload, signature } of headers) {
    view.setUint32(at, payload.length, true);
    bytes.set(payload, at + 4);
    bytes.set(signature, at + 4 + payload.length);
    at += 4 + payload.length + SIGNATURE_BYTES;
  }
  return bytes;
}

/** Total: any bytes give a file, whose encoding is those bytes, or what `complain` makes. Copies what it gives. */
export function decodeHeadersFile(kind: FileKind, bytes: Uint8Array, complain: Complaint): HeadersFile {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = new TextEncoder().encode(kind);
  if (magic.some((letter, index) => bytes[index] !== letter)) throw complain("it is no such file");
  if (bytes.length < FRONT_BYTES) throw complain("it is cut short");
  const version = view.getUint32(4, true);
  if (version !== VERSION) throw complain(`its format ${version} is not known here: use a newer Godwit`);
  const registryPublicKey = copy(bytes, 8, 8 + KEY_BYTES);
  const count = view.getUint32(8 + KEY_BYTES, true);
  const headers: SignedBytes[] = [];
  let at = FRONT_BYTES;
  while (headers.length < count) {
    if (bytes.length < at + 4) throw complain("it is cut short");
    const length = view.getUint32(at, true);
    if (length > MAX_HEADER_BYTES) throw complain(`a header in it has more than ${MAX_HEADER_BYTES} bytes`);
    const signatureAt = at + 4 + length;
    const end = signatureAt + SIGNATURE_BYTES;
    if (bytes.length < end) throw complain("it is cut short");
    headers.push({ payload: copy(bytes, at + 4, signatureAt), signature: copy(bytes, signatureAt, end) });
    at = end;
  }
  if (at !== bytes.length) throw complain("something follows its last header");
  return { registryPublicKey, headers };
}

/** Of a Buffer too, whose slice() does not copy. */
function copy(bytes: Uint8Array, from: number, to: number): Uint8Array {
  return new Uint8Array(bytes.subarray(from, to));
}
