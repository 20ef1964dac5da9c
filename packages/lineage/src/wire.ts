// Reading protobuf that anyone may have written: a message within its limits, or the caller's fault.

import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import type { Fault } from "@godwit/common/fault";

/** Makes the fault of what is being read; `reason` completes "the … is not valid:". */
export type Complaint = (reason: string) => Fault;

const MAX_U64 = 2n ** 64n - 1n;

export function readMessage<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  maxBytes: number,
  complain: Complaint,
): MessageShape<D> {
  if (bytes.length === 0) throw complain("it is empty");
  if (bytes.length > maxBytes) throw complain(`it has ${bytes.length} bytes, more than ${maxBytes}`);
  try {
    // A Buffer would come out as Buffers, whose slice() does not copy.
    const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return fromBinary(schema, view, { readUnknownFields: false, recursionLimit: 8 });
  } catch {
    throw complain("it is cut short, or not the message that it should be");
  }
}

/** The first complaint of a list in which `false` and `undefined` mean that there is none. */
export function firstOf(...reasons: readonly (string | false | undefined)[]): string | undefined {
  for (const reason of reasons) if (typeof reason === "string") return reason;
  return undefined;
}

/** Boot ids, handoff ids, incarnations: what one can print and compare. */
export function isId(text: string): boolean {
  return /^[\x21-\x7e]{1,128}$/.test(text);
}

export function isU64(value: bigint): boolean {
  return value >= 0n && value <= MAX_U64;
}

export function isI64(value: bigint): boolean {
  return BigInt.asIntN(64, value) === value;
}
