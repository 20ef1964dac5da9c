// What one host charged for a run of ticks. A receipt is vouched for by the signature of the checkpoint that carries it.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import { MAX_MICROCENTS, type Microcents } from "@godwit/common/money";
import { ReceiptSchema, type Receipt as WireReceipt } from "@godwit/proto/godwit/lineage/v1/lineage";
import { isHostId } from "./keys.ts";
import { firstOf, isU64 } from "./wire.ts";

export interface Receipt {
  readonly hostId: string;
  /** Both ends belong to it. */
  readonly firstTick: bigint;
  readonly lastTick: bigint;
  readonly elapsedNs: bigint;
  readonly pricePerSecond: Microcents;
  readonly cost: Microcents;
  /** The agent's budget once this was charged. */
  readonly budgetAfter: Microcents;
}

const MAX_RECEIPT_BYTES = 256;

/** As an agent's wallet keeps it and a handoff carries it. */
export function encodeReceipt(receipt: Receipt): Uint8Array {
  return toBinary(ReceiptSchema, toProtoReceipt(receipt));
}

/** Total; Fault CHECKPOINT_INVALID. */
export function readReceipt(bytes: Uint8Array): Receipt {
  let receipt: Receipt | undefined;
  try {
    if (bytes.length <= MAX_RECEIPT_BYTES) receipt = fromProtoReceipt(fromBinary(ReceiptSchema, bytes));
  } catch {
    receipt = undefined;
  }
  const problem = receipt === undefined ? "it cannot be read" : receiptProblem(receipt);
  if (receipt === undefined || problem !== undefined) {
    throw new Fault({ code: "CHECKPOINT_INVALID", reason: `of a receipt, ${problem}` });
  }
  return receipt;
}

export function toProtoReceipt(receipt: Receipt): WireReceipt {
  return create(ReceiptSchema, receipt);
}

/** Takes the values over as they are: whether they make sense is receiptProblem's to say. */
export function fromProtoReceipt(message: WireReceipt): Receipt {
  const { hostId, firstTick, lastTick, elapsedNs, pricePerSecond, cost, budgetAfter } = message;
  return { hostId, firstTick, lastTick, elapsedNs, pricePerSecond, cost, budgetAfter };
}

export function receiptProblem(receipt: Receipt): string | undefined {
  const { hostId, firstTick, lastTick, elapsedNs, pricePerSecond, cost, budgetAfter } = receipt;
  return firstOf(
    !isHostId(hostId) && "the host id is no Ed25519 peer id",
    ![firstTick, lastTick, elapsedNs].every(isU64) && "a tick or the time is out of range",
    ![pricePerSecond, cost, budgetAfter].every(isMoney) && "an amount of money is out of range",
    firstTick > lastTick && "it ends before it begins",
  );
}

export function isMoney(amount: Microcents): boolean {
  return amount >= 0n && amount <= MAX_MICROCENTS;
}
