// Checkpoints of the seed system, from which Godwit takes agents over: their formats 2, 3 and 4. Read only; nobody writes them here.
//
// All integers little-endian, no length and no checksum anywhere; what follows the header is the state.
//
//   0  version byte     17  tick, u64                   57  major, u64       (3, 4)    81  checkpoint before (4)
//   1  budget, i64      25  SHA-256 of the module       65  generation, u64  (3, 4)   113  Ed25519 key       (4)
//   9  price, i64       57  state of format 2           73  lease end, i64   (3, 4)   145  signature         (4)
//                                                       81  state of format 3         209  state of format 4
//
// The signature is over everything but itself, [0, 145) and [209, end), and by the key in the header: it proves that the file is
// whole, and whose it is only to those who know the key from elsewhere. No format says of which agent it is.
//
// A file that begins with 2 may be older than all of this: for a while the seed wrote that byte ahead of a header of 25 bytes, with
// the state right behind the tick. Nothing in the bytes tells the two apart. Read as here, the first 32 bytes of such a state stand
// where the module's digest is, so it is taken for the checkpoint of a module that nobody has, and is never resumed.

import { verify } from "node:crypto";
import { Fault } from "@godwit/common/fault";
import { digestOf, hexOf } from "../digest.ts";
import { verifyingKey } from "../keys.ts";

export type SeedFormat = 2 | 3 | 4;

export interface SeedCheckpoint {
  readonly format: SeedFormat;
  /** SHA-256 of the whole file, its signature included. */
  readonly digest: string;
  /** Microcents. Below 0 only where `negativeBudget` is "kept". */
  readonly budget: bigint;
  /** Microcents a second. */
  readonly pricePerSecond: bigint;
  readonly tick: bigint;
  /** SHA-256 of the module; of the oldest files with a 2 it is something else. */
  readonly moduleDigest: string;
  /** Of formats 3 and 4. */
  readonly lease: SeedLease | undefined;
  /** Of format 4. */
  readonly custody: SeedCustody | undefined;
  readonly headerBytes: number;
  /** A view of the file, which must not change afterwards. */
  readonly state: Uint8Array;
}

export interface SeedLease {
  readonly major: bigint;
  readonly generation: bigint;
  /** ns since 1970 on the seed host's clock; `undefined`: there was none. */
  readonly endsAtNs: bigint | undefined;
}

export interface SeedCustody {
  /** Digest of the checkpoint before; `undefined`: it says that it is the first. Nothing in the seed ever checked it. */
  readonly previous: string | undefined;
  /** 32 bytes, in hex. */
  readonly publicKey: string;
  readonly signature: Uint8Array;
}

export interface SeedCheckpointRules {
  /**
   * An agent of the seed whose money ran out left a budget below 0, which the seed itself could not read again: it is "refused",
   * or "kept" by those who give it another budget, or only look.
   */
  readonly negativeBudget: "refused" | "kept";
}

const HEADER_BYTES: Readonly<Record<SeedFormat, number>> = { 2: 57, 3: 81, 4: 209 };
const SIGNATURE_AT = 145;
const NO_DIGEST = "0".repeat(64);

/** Whether the bytes begin as a checkpoint of the seed does. */
export function isSeedFormat(version: number | undefined): version is SeedFormat {
  return version === 2 || version === 3 || version === 4;
}

/**
 * Reads a checkpoint of the seed, in the order in which the seed checked it. Total: any bytes give a checkpoint or Fault
 * CHECKPOINT_INVALID. Verifies no signature: see `holdsSeedSignature`.
 */
export function decodeSeedCheckpoint(
  bytes: Uint8Array,
  { negativeBudget }: SeedCheckpointRules = { negativeBudget: "refused" },
): SeedCheckpoint {
  const format = bytes[0];
  if (format === undefined) throw complain("it is empty");
  if (!isSeedFormat(format)) {
    throw complain(`its version ${format} is none of those that can be taken over, which are 2, 3 and 4`);
  }
  const headerBytes = HEADER_BYTES[format];
  if (bytes.length < headerBytes) {
    throw complain(`it is cut short: its header alone has ${headerBytes} bytes, and there are ${bytes.length}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const budget = view.getBigInt64(1, true);
  const pricePerSecond = view.getBigInt64(9, true);
  if (budget < 0n && negativeBudget === "refused") {
    throw complain(`its budget of ${budget} microcents is below 0: give the agent another one`);
  }
  if (pricePerSecond < 0n) throw complain(`its price of ${pricePerSecond} microcents a second is below 0`);

  return {
    format,
    digest: digestOf(bytes),
    budget,
    pricePerSecond,
    tick: view.getBigUint64(17, true),
    moduleDigest: hexOf(bytes.subarray(25, 57)),
    lease: format === 2 ? undefined : leaseIn(view),
    custody: format === 4 ? custodyIn(bytes) : undefined,
    headerBytes,
    // Of a Buffer too, whose subarray() is a Buffer.
    state: new Uint8Array(bytes.buffer, bytes.byteOffset + headerBytes, bytes.byteLength - headerBytes),
  };
}

/** Whether a checkpoint of format 4 is signed by the key in its header. `bytes`: those that it was read from. */
export function holdsSeedSignature(bytes: Uint8Array, { publicKey, signature }: SeedCustody): boolean {
  const signed = new Uint8Array(bytes.length - signature.length);
  signed.set(bytes.subarray(0, SIGNATURE_AT));
  signed.set(bytes.subarray(SIGNATURE_AT + signature.length), SIGNATURE_AT);
  return verify(null, signed, verifyingKey(new Uint8Array(Buffer.from(publicKey, "hex"))), signature);
}

function leaseIn(view: DataView): SeedLease {
  const endsAtNs = view.getBigInt64(73, true);
  return {
    major: view.getBigUint64(57, true),
    generation: view.getBigUint64(65, true),
    endsAtNs: endsAtNs === 0n ? undefined : endsAtNs,
  };
}

function custodyIn(bytes: Uint8Array): SeedCustody {
  const previous = hexOf(bytes.subarray(81, 113));
  return {
    previous: previous === NO_DIGEST ? undefined : previous,
    publicKey: hexOf(bytes.subarray(113, SIGNATURE_AT)),
    signature: new Uint8Array(bytes.subarray(SIGNATURE_AT, HEADER_BYTES[4])),
  };
}

function complain(reason: string): Fault {
  return new Fault({ code: "CHECKPOINT_INVALID", reason });
}
