// Reading what a peer sent: total, and every complaint is FRAME_INVALID with the class fatal-target (GH-2).

import { create, type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { decodeFault, encodeFault, type FaultDetail, faultMessage } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import { ClassifiedFault, type Failure } from "@godwit/common/retry";
import { digestFromBytes, digestToBytes, isDigest } from "@godwit/lineage";
import type { Signed } from "@godwit/proto/godwit/lineage/v1/lineage";
import { type Refused, RefusedSchema } from "@godwit/proto/godwit/migration/v1/migration";
import { hasMoreFields } from "./field-count.ts";
import { FRAME_LIMITS } from "./limits.ts";

const MAX_ID_CHARS = 128;
const MAX_TEXT_CHARS = 1024;
const SIGNATURE_BYTES = 64;

export function frameInvalid(reason: string): ClassifiedFault<"FRAME_INVALID"> {
  return new ClassifiedFault("fatal-target", { code: "FRAME_INVALID", reason });
}

export function readFrame<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  const { maxFrameBytes, maxFrameFields } = FRAME_LIMITS;
  if (bytes.length > maxFrameBytes) throw frameInvalid(`it has ${bytes.length} bytes, more than ${maxFrameBytes}`);
  try {
    // A Buffer would come out as Buffers, whose slice() does not copy.
    const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (!hasMoreFields(schema, view, maxFrameFields))
      return fromBinary(schema, view, { readUnknownFields: false, recursionLimit: 8 });
  } catch (cause) {
    throw new ClassifiedFault(
      "fatal-target",
      { code: "FRAME_INVALID", reason: "it is cut short, or no message of this protocol" },
      { cause },
    );
  }
  throw frameInvalid(`it has more than ${maxFrameFields} fields`);
}

/** Ids and names: printable, and not without end. */
export function readId(text: string, field: string): string {
  if (!/^[\x21-\x7e]+$/.test(text) || text.length > MAX_ID_CHARS) throw frameInvalid(`its ${field} is malformed`);
  return text;
}

export function readAgentId(text: string): string {
  if (!isDigest(text)) throw frameInvalid("its agent id is malformed");
  return text;
}

export function readText(text: string): string {
  return text.slice(0, MAX_TEXT_CHARS);
}

export function readDigest(bytes: Uint8Array, field: string): string {
  if (bytes.length !== 32) throw frameInvalid(`its ${field} has ${bytes.length} bytes instead of 32`);
  return digestFromBytes(bytes, field);
}

export function writeDigest(digest: string): Uint8Array {
  return digestToBytes(digest);
}

export function readSize(size: bigint, max: number, field: string): number {
  if (size > BigInt(max)) throw frameInvalid(`its ${field} is ${size}, more than ${max}`);
  return Number(size);
}

/** Copies: what outlives the frame must not keep its buffer. */
export function readSigned(signed: Signed | undefined, field: string): SignedBytes {
  if (signed === undefined || signed.payload.length === 0) throw frameInvalid(`its ${field} is missing`);
  const { payload, signature } = signed;
  if (signature.length !== SIGNATURE_BYTES) throw frameInvalid(`the signature of its ${field} is malformed`);
  return { payload: new Uint8Array(payload), signature: new Uint8Array(signature) };
}

export function writeRefused(handoffId: string, failure: Failure): Refused {
  const { class: failureClass, fault } = failure;
  const message = faultMessage(fault);
  return create(RefusedSchema, { handoffId, failureClass, code: fault.code, data: encodeFault(fault), message });
}

/** A peer may be newer and refuse with a code that we do not know: its class and its text are enough to go on. */
export function readRefused({ failureClass, code, data, message }: Refused, peerHostId: string): Failure {
  if (failureClass !== "retriable" && failureClass !== "fatal-target" && failureClass !== "fatal-migration") {
    throw frameInvalid(`no refusal has the class ${JSON.stringify(failureClass.slice(0, 32))}`);
  }
  const unknown: FaultDetail = { code: "POLICY_REFUSED", hostId: peerHostId, reason: readText(`${code}: ${message}`) };
  return { class: failureClass, fault: decodeFault(code, data) ?? unknown };
}

export function readReceipts(receipts: readonly Uint8Array[]): readonly Uint8Array[] {
  const { maxReceipts, maxReceiptsBytes } = FRAME_LIMITS;
  if (receipts.length > maxReceipts) throw frameInvalid(`it has ${receipts.length} receipts, more than ${maxReceipts}`);
  const total = receipts.reduce((sum, receipt) => sum + receipt.length, 0);
  if (total > maxReceiptsBytes) throw frameInvalid(`its receipts have ${total} bytes, more than ${maxReceiptsBytes}`);
  return receipts.map((receipt) => new Uint8Array(receipt));
}
