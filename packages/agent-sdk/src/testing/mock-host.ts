// A host that a test puts into any condition. Its time and its chance are the same in each run.

import type { Question, Reply } from "./hostcalls.ts";
import { resultCode } from "./hostcalls.ts";
import { encodeReceipt, type ReceiptFields } from "./receipts.ts";

export interface MockHostOptions {
  /** Of `rand_bytes`; 1 by default. */
  readonly seed?: number;
  /** What `clock_now` answers first, in ns since 1970; 2024-01-01T00:00:00Z by default. */
  readonly startNs?: bigint;
  /** How much later each further answer is; a second by default. */
  readonly stepNs?: bigint;
  /** Microcents; one unit by default. */
  readonly balance?: bigint;
  /** Microcents a second; 1,000 by default. */
  readonly price?: bigint;
}

const newYear2024Ns = 1_704_067_200_000_000_000n;
const secondNs = 1_000_000_000n;
/** A wallet has the newest, and no more. */
const maxReceipts = 256;

export class MockHost {
  /** What the agent has said, oldest first. */
  readonly logs: string[] = [];
  /** Microcents. */
  balance: bigint;
  /** Microcents a second. A host has one price: another price is another host. */
  price: bigint;
  readonly #receipts: Uint8Array[] = [];
  #nextNs: bigint;
  #stepNs: bigint;
  #random: number;

  constructor(options: MockHostOptions = {}) {
    const { seed = 1, startNs = newYear2024Ns, stepNs = secondNs, balance = 1_000_000n, price = 1_000n } = options;
    this.#random = seed >>> 0;
    this.#nextNs = startNs;
    this.#stepNs = stepNs;
    this.balance = balance;
    this.price = price;
  }

  /** What `clock_now` answers next, and by how much each further answer is later. */
  setClock(nextNs: bigint, stepNs: bigint = this.#stepNs): void {
    this.#nextNs = nextNs;
    this.#stepNs = stepNs;
  }

  /** As if so much time had passed. */
  advanceClock(ns: bigint): void {
    this.#nextNs += ns;
  }

  /** A receipt like those of a real host, or any bytes in its place. Of more than 256 the oldest is gone. */
  addReceipt(receipt: ReceiptFields | Uint8Array): void {
    this.#receipts.push(receipt instanceof Uint8Array ? receipt : encodeReceipt(receipt));
    if (this.#receipts.length > maxReceipts) this.#receipts.shift();
  }

  clearLogs(): void {
    this.logs.length = 0;
  }

  readonly answer = (question: Question): Reply => {
    switch (question.name) {
      case "clock_now":
        return { result: this.#now() };
      case "rand_bytes":
        return { result: 0, payload: Uint8Array.from({ length: question.length }, () => this.#randomByte()) };
      case "log_emit":
        this.logs.push(question.message);
        return { result: undefined };
      case "wallet_balance":
        return { result: this.balance };
      case "wallet_receipt_count":
        return { result: this.#receipts.length };
      case "wallet_receipt":
        return this.#receipt(question.index, question.capacity);
      case "node_price":
        return { result: this.price };
    }
  };

  #now(): bigint {
    const nowNs = this.#nextNs;
    this.#nextNs += this.#stepNs;
    return nowNs;
  }

  #receipt(index: number, capacity: number): Reply {
    const receipt = this.#receipts[index];
    if (receipt === undefined) return { result: resultCode.failed };
    if (receipt.length > capacity) return { result: resultCode.outOfBounds };
    return { result: receipt.length, payload: receipt };
  }

  /** Of a counter, mixed: every seed gives another sequence, and none of them is good for anything but tests. */
  #randomByte(): number {
    this.#random = (this.#random + 0x9e3779b9) >>> 0;
    let mixed = this.#random;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) & 0xff;
  }
}
