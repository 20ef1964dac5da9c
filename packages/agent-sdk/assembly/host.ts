// What a host offers. Each call needs its capability in the manifest; what an agent does not call is not imported.
//
// What a host answers is recorded with the tick, and is all of the world that a replay of it sees.

import { Receipt } from "./receipt";

@external("godwit", "clock_now")
declare function hostClockNow(): i64;

@external("godwit", "rand_bytes")
declare function hostRandBytes(pointer: usize, length: i32): i32;

@external("godwit", "log_emit")
declare function hostLogEmit(pointer: usize, length: i32): void;

@external("godwit", "wallet_balance")
declare function hostWalletBalance(): i64;

@external("godwit", "wallet_receipt_count")
declare function hostWalletReceiptCount(): i32;

@external("godwit", "wallet_receipt")
declare function hostWalletReceipt(index: i32, pointer: usize, capacity: i32): i32;

@external("godwit", "node_price")
declare function hostNodePrice(): i64;

const bufferTooSmall: i32 = -4;
const firstReceiptCapacity: i32 = 1_024;
const maxReceiptCapacity: i32 = 65_536;

/** Nanoseconds since 1970, by the clock of the host; after a move it is another clock. Capability `clock`. */
export function clockNow(): i64 {
  return hostClockNow();
}

/** Capability `rand`. */
export function randBytes(length: i32): Uint8Array {
  const bytes = new Uint8Array(length);
  fillRandom(bytes);
  return bytes;
}

/** Capability `rand`. */
export function fillRandom(bytes: Uint8Array): void {
  if (bytes.length == 0) return;
  const code = hostRandBytes(bytes.dataStart, bytes.length);
  if (code != 0) throw new Error("the host has no " + bytes.length.toString() + " random bytes: code " + code.toString());
}

/** Capability `rand`. */
export function randU64(): u64 {
  return load<u64>(randBytes(8).dataStart);
}

/** A line of the agent's log; an empty one is none. Capability `log`, which every agent of this SDK needs. */
export function log(message: string): void {
  const bytes = String.UTF8.encode(message);
  if (bytes.byteLength > 0) hostLogEmit(changetype<usize>(bytes), bytes.byteLength);
}

/** What is left of the budget, in microcents (10^-6 of a unit), before this tick is charged. Capability `wallet`. */
export function walletBalance(): i64 {
  return hostWalletBalance();
}

/** How many receipts the agent can read: the newest ones. Capability `wallet`. */
export function walletReceiptCount(): i32 {
  return hostWalletReceiptCount();
}

/** From 0, the oldest, on. Null if there is none, or it is not in a form that is known here. Capability `wallet`. */
export function walletReceipt(index: i32): Receipt | null {
  for (let capacity = firstReceiptCapacity; capacity <= maxReceiptCapacity; capacity <<= 3) {
    const bytes = new Uint8Array(capacity);
    const length = hostWalletReceipt(index, bytes.dataStart, capacity);
    if (length >= 0) return Receipt.read(bytes.subarray(0, length));
    if (length != bufferTooSmall) return null;
  }
  return null;
}

/** What this host asks for a second, in microcents. Capability `pricing`. */
export function nodePrice(): i64 {
  return hostNodePrice();
}
