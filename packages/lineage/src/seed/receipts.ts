// The receipts that came with a checkpoint of the seed system: read one by one, so that a count that is a lie costs nothing, and
// checked as the seed never did.
//
//   the file:   u32 count, then of each receipt: u32 length, receipt
//   a receipt:  what is signed, u32 length of the signature, signature
//   signed:     u32 length, agent id, u32 length, node id, u64 first tick, u64 last tick, i64 cost, i64 budget after, i64 time (ns)
//
// R-1  Each is signed by the libp2p key in its node id. One whose node id has no Ed25519 key in it proves nothing and is refused.
// R-2  They cover every tick from 1 on, none twice. The seed also wrote one when no tick had run: it begins after its end, and costs
//      nothing.
// R-3  The budget never rises from one to the next, and the last leaves what the checkpoint has.
//
// What an honest seed host could leave out is no reason to refuse, and is told: it saved checkpoint and receipts one after the other,
// so a crash in between lost the charges of some ticks, or the newest receipt.

import { verify } from "node:crypto";
import { Fault } from "@godwit/common/fault";
import { isHostId, publicKeyOfHost, verifyingKey } from "../keys.ts";
import { SIGNATURE_BYTES } from "../seal.ts";
import type { SeedCheckpoint } from "./checkpoint.ts";

export interface SeedReceipt {
  readonly agentId: string;
  /** The libp2p peer id of its signer. */
  readonly nodeId: string;
  /** Both ends belong to it; where no tick had run, the first is the one after the last. */
  readonly firstTick: bigint;
  readonly lastTick: bigint;
  readonly cost: bigint;
  readonly budgetAfter: bigint;
  readonly atNs: bigint;
  /** What the signature is over; both are views of the file. */
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

/** What receipts that were checked come to. */
export interface SeedReceiptSummary {
  readonly count: number;
  readonly cost: bigint;
  /** Up to which tick there are receipts; 0: none. */
  readonly lastTick: bigint;
  /** By how much the budget fell without a receipt that says why. */
  readonly unexplained: bigint;
}

/** Far above what either id ever has. */
const MAX_ID_BYTES = 512;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The receipts of a file, one by one. Total: any bytes give receipts to the end or Fault CHECKPOINT_INVALID, and whatever they claim,
 * no more is in hand than one. Verifies nothing: see `checkSeedReceipts`.
 */
export function* readSeedReceipts(bytes: Uint8Array): Generator<SeedReceipt, void> {
  const list = new Reader(bytes);
  const count = list.u32();
  for (let index = 0; index < count; index++) yield readReceipt(list.bytes(list.u32()));
  list.end();
}

/**
 * Checks the receipts that came with a checkpoint and yields each that is in order, so that a caller with many can let others
 * run in between. Total. Throws Fault CHECKPOINT_INVALID, SIGNATURE_INVALID.
 */
export function* checkSeedReceipts(
  bytes: Uint8Array,
  { tick, budget }: Pick<SeedCheckpoint, "tick" | "budget">,
): Generator<SeedReceipt, SeedReceiptSummary> {
  let before: SeedReceipt | undefined;
  let count = 0;
  let cost = 0n;
  let unexplained = 0n;
  for (const receipt of readSeedReceipts(bytes)) {
    const problem = orderProblem(receipt, before);
    if (problem !== undefined) throw complain(problem);
    checkSignature(receipt);
    if (before !== undefined) unexplained += before.budgetAfter - receipt.cost - receipt.budgetAfter;
    cost += receipt.cost;
    count += 1;
    before = receipt;
    yield receipt;
  }
  if (before !== undefined) unexplained += endOf(before, { tick, budget });
  return { count, cost, lastTick: before?.lastTick ?? 0n, unexplained };
}

function orderProblem(receipt: SeedReceipt, before: SeedReceipt | undefined): string | undefined {
  const { agentId, firstTick, lastTick, cost, budgetAfter } = receipt;
  const awaited = (before?.lastTick ?? 0n) + 1n;
  const isEmpty = firstTick === lastTick + 1n;
  if (before !== undefined && agentId !== before.agentId) return "they are of two agents";
  if (firstTick > awaited)
    return `none covers tick ${awaited}${firstTick > awaited + 1n ? " and what follows it" : ""}`;
  if (firstTick < awaited) return `tick ${firstTick} is charged twice`;
  if (firstTick > lastTick && !isEmpty) return `one ends before it begins, at tick ${firstTick}`;
  if (cost < 0n || (isEmpty && cost > 0n)) return `one has a cost of ${cost} for ticks ${firstTick} to ${lastTick}`;
  if (before !== undefined && budgetAfter > before.budgetAfter - cost) {
    return `the budget rises at tick ${firstTick}, and nothing says from where`;
  }
  return undefined;
}

/** What the budget fell by after the last receipt. */
function endOf({ lastTick, budgetAfter }: SeedReceipt, checkpoint: Pick<SeedCheckpoint, "tick" | "budget">): bigint {
  const { tick, budget } = checkpoint;
  if (lastTick > tick) throw complain(`they go up to tick ${lastTick}, the checkpoint to tick ${tick}`);
  if (budget > budgetAfter || (lastTick === tick && budget !== budgetAfter)) {
    throw complain(`they leave a budget of ${budgetAfter} microcents, and the checkpoint has ${budget}`);
  }
  return budgetAfter - budget;
}

function checkSignature({ nodeId, firstTick, signed, signature }: SeedReceipt): void {
  if (!isHostId(nodeId)) {
    throw complain(`the one from tick ${firstTick} on cannot be verified: the node id in it has no Ed25519 key`);
  }
  if (!verify(null, signed, verifyingKey(publicKeyOfHost(nodeId)), signature)) {
    throw new Fault({ code: "SIGNATURE_INVALID", what: `the receipt from tick ${firstTick} on` });
  }
}

function readReceipt(bytes: Uint8Array): SeedReceipt {
  const reader = new Reader(bytes);
  const agentId = reader.text();
  const nodeId = reader.text();
  const [firstTick, lastTick] = [reader.u64(), reader.u64()];
  const [cost, budgetAfter, atNs] = [reader.i64(), reader.i64(), reader.i64()];
  const signed = bytes.subarray(0, reader.at);
  const signature = reader.bytes(reader.u32());
  if (signature.length !== SIGNATURE_BYTES) throw complain("a signature in them is malformed");
  reader.end();
  return { agentId, nodeId, firstTick, lastTick, cost, budgetAfter, atNs, signed, signature };
}

/** Reads from the front, and complains where there is nothing left to read. */
class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8), true);
  }

  bytes(length: number): Uint8Array {
    const from = this.#take(length);
    return this.#bytes.subarray(from, this.at);
  }

  text(): string {
    const length = this.u32();
    if (length > MAX_ID_BYTES) throw complain(`an id in them has ${length} bytes`);
    const bytes = this.bytes(length);
    try {
      return utf8.decode(bytes);
    } catch {
      throw complain("an id in them is no text");
    }
  }

  /** Nothing that the seed wrote has anything behind it. */
  end(): void {
    if (this.at !== this.#bytes.length) throw complain("something follows where they should end");
  }

  #take(length: number): number {
    const from = this.at;
    if (this.#bytes.length - from < length) throw complain("they are cut short");
    this.at = from + length;
    return from;
  }
}

function complain(reason: string): Fault {
  return new Fault({ code: "CHECKPOINT_INVALID", reason: `of its receipts, ${reason}` });
}
