// What one host charged for a run of ticks, or what was paid in: a funding, which takes a tick of its own. A receipt is
// vouched for by the signature of the checkpoint that carries it.
//
// §11  A funding has an id, of 16 bytes, so that it is applied once; no time, and no cost.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import { MAX_MICROCENTS, type Microcents } from "@godwit/common/money";
import { ReceiptSchema, type Receipt as WireReceipt } from "@godwit/proto/godwit/lineage/v1/lineage";
import { hexOf } from "./digest.ts";
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
  /** The agent's budget once this was charged, or paid in. */
  readonly budgetAfter: Microcents;
  /** Only of a funding: what came in. */
  readonly funded?: Microcents;
  /** Only of a funding: the id that its sender chose, 16 bytes in lower-case hex. */
  readonly fundingId?: string;
}

/** A receipt of money that came in. */
export type FundingReceipt = Receipt & { readonly funded: Microcents; readonly fundingId: string };

export const FUNDING_ID_BYTES = 16;

const FUNDING_ID = /^[0-9a-f]{32}$/;

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
  const { fundingId, ...values } = receipt;
  const message = create(ReceiptSchema, values);
  if (fundingId !== undefined) message.fundingId = fundingIdToBytes(fundingId);
  return message;
}

/** Takes the values over as they are: whether they make sense is receiptProblem's to say. */
export function fromProtoReceipt(message: WireReceipt): Receipt {
  const { hostId, firstTick, lastTick, elapsedNs, pricePerSecond, cost, budgetAfter } = message;
  const receipt = { hostId, firstTick, lastTick, elapsedNs, pricePerSecond, cost, budgetAfter };
  const { funded, fundingId } = message;
  if (funded === 0n && fundingId.length === 0) return receipt;
  return { ...receipt, funded, fundingId: hexOf(fundingId) };
}

export function isFunding(receipt: Receipt): receipt is FundingReceipt {
  return receipt.funded !== undefined;
}

/** The budget before the receipt. */
export function budgetBefore({ budgetAfter, cost, funded = 0n }: Receipt): Microcents {
  return budgetAfter + cost - funded;
}

/** 16 bytes in lower-case hex. */
export function isFundingId(text: string): boolean {
  return FUNDING_ID.test(text);
}

/** Of an id that isFundingId takes. */
export function fundingIdToBytes(id: string): Uint8Array {
  return new Uint8Array(Buffer.from(id, "hex"));
}

/** In hex, whatever its length: whether it is one is isFundingId's to say. */
export function fundingIdFromBytes(bytes: Uint8Array): string {
  return hexOf(bytes);
}

export function receiptProblem(receipt: Receipt): string | undefined {
  const { hostId, firstTick, lastTick, elapsedNs, pricePerSecond, cost, budgetAfter } = receipt;
  return (
    firstOf(
      !isHostId(hostId) && "the host id is no Ed25519 peer id",
      ![firstTick, lastTick, elapsedNs].every(isU64) && "a tick or the time is out of range",
      ![pricePerSecond, cost, budgetAfter].every(isMoney) && "an amount of money is out of range",
      firstTick > lastTick && "it ends before it begins",
    ) ?? (isFunding(receipt) ? fundingProblem(receipt) : undefined)
  );
}

function fundingProblem({ funded, fundingId, firstTick, lastTick, elapsedNs, cost }: FundingReceipt) {
  return firstOf(
    !(isMoney(funded) && funded > 0n) && "what was paid in is not an amount above 0",
    !isFundingId(fundingId) && `the id of the funding has not ${FUNDING_ID_BYTES} bytes`,
    firstTick !== lastTick && "a funding takes one tick",
    (elapsedNs !== 0n || cost !== 0n) && "a funding charges nothing",
  );
}

export function isMoney(amount: Microcents): boolean {
  return amount >= 0n && amount <= MAX_MICROCENTS;
}
