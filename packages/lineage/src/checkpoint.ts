// A checkpoint: header, signature, state; and its file. README.md has the layout.

import { Fault } from "@godwit/common/fault";
import type { CheckpointRef, SignedBytes } from "@godwit/common/lease";
import { custodian } from "./custody.ts";
import { digestOf } from "./digest.ts";
import { decodeGrant } from "./grant.ts";
import { encodeHeader, type Header, MAX_HEADER_BYTES, readHeader } from "./header.ts";
import { hostIdOf, type Signer } from "./keys.ts";
import { SIGNATURE_BYTES, seal } from "./seal.ts";

export interface Checkpoint {
  readonly header: Header;
  readonly signed: SignedBytes;
  /** SHA-256 of the header's bytes, in lower-case hex. */
  readonly digest: string;
  readonly state: Uint8Array;
}

export interface CheckpointLimits {
  readonly maxStateBytes: number;
}

/** The whole memory of an agent fits. */
export const DEFAULT_CHECKPOINT_LIMITS: CheckpointLimits = { maxStateBytes: 64 * 1024 * 1024 };

/** "GWCP" */
const MAGIC = Uint8Array.of(0x47, 0x57, 0x43, 0x50);
/** Made here, with digests that were computed from these very bytes. */
const whole = new WeakSet<Checkpoint>();

const VERSION = 1;
const FRONT_BYTES = 12;

/**
 * Signs a checkpoint with the owner's host key. Throws Fault CHECKPOINT_INVALID for one that nobody would accept: a header
 * that breaks a rule, a grant of something else, or a signer that is not the host which grant or genesis names.
 */
export function writeCheckpoint(
  header: Omit<Header, "stateDigest" | "stateBytes">,
  state: Uint8Array,
  signer: Signer,
): Checkpoint {
  const complete: Header = { ...header, stateDigest: digestOf(state), stateBytes: BigInt(state.length) };
  const payload = encodeHeader(complete);
  const owner = custodian(complete, complete.grant && decodeGrant(complete.grant.payload));
  if (owner !== hostIdOf(signer.publicKey)) throw complain(`host ${owner} has to sign it, not this one`);
  return made({ header: complete, signed: seal("checkpoint", payload, signer), digest: digestOf(payload), state });
}

/**
 * Whether header, digest and state were seen to belong together when this very object was made, so that nobody needs to
 * hash a large state again. Its bytes must not have been changed since, which nobody may.
 */
export function isWhole(checkpoint: Checkpoint): boolean {
  return whole.has(checkpoint);
}

/**
 * Puts together a header and a state that came apart, as in a handoff. Throws Fault CHECKPOINT_INVALID when they do not
 * belong together. Verifies no signature. Keeps `state` without copying it.
 */
export function joinCheckpoint(
  signed: SignedBytes,
  state: Uint8Array,
  limits: CheckpointLimits = DEFAULT_CHECKPOINT_LIMITS,
): Checkpoint {
  const header = readHeader(signed.payload);
  if (signed.signature.length !== SIGNATURE_BYTES) throw complain("its signature is malformed");
  if (state.length > limits.maxStateBytes) {
    throw complain(`its state has ${state.length} bytes, more than ${limits.maxStateBytes}`);
  }
  if (header.stateBytes !== BigInt(state.length)) {
    throw complain(`its state has ${state.length} bytes instead of ${header.stateBytes}`);
  }
  if (header.stateDigest !== digestOf(state)) throw complain("its state is not the one that the header names");
  return made({ header, signed, digest: digestOf(signed.payload), state });
}

/** The bytes of a checkpoint's file. */
export function encodeCheckpoint({ signed, state }: Checkpoint): Uint8Array {
  const { payload, signature } = signed;
  const bytes = new Uint8Array(FRONT_BYTES + payload.length + SIGNATURE_BYTES + state.length);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(4, VERSION, true);
  view.setUint32(8, payload.length, true);
  bytes.set(payload, FRONT_BYTES);
  bytes.set(signature, FRONT_BYTES + payload.length);
  bytes.set(state, FRONT_BYTES + payload.length + SIGNATURE_BYTES);
  return bytes;
}

/**
 * Reads a checkpoint's file. Total: any bytes give a checkpoint whose state is the one that its header names, or Fault
 * CHECKPOINT_INVALID; nothing is allocated on the word of a length in them. Verifies no signature: see verifyHeader.
 * The state is a view of `bytes`, which must not change afterwards.
 */
export function decodeCheckpoint(bytes: Uint8Array, limits: CheckpointLimits = DEFAULT_CHECKPOINT_LIMITS): Checkpoint {
  if (bytes.length < FRONT_BYTES) throw complain("it is cut short");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (MAGIC.some((byte, index) => bytes[index] !== byte)) throw complain("this is no checkpoint");
  const version = view.getUint32(4, true);
  if (version !== VERSION) throw complain(`its format ${version} is not known here: use a newer Godwit`);
  const headerBytes = view.getUint32(8, true);
  if (headerBytes > MAX_HEADER_BYTES) throw complain(`its header has more than ${MAX_HEADER_BYTES} bytes`);
  const stateAt = FRONT_BYTES + headerBytes + SIGNATURE_BYTES;
  if (bytes.length < stateAt) throw complain("it is cut short");

  // Copies, so that a header which is kept does not keep the state.
  const payload = new Uint8Array(bytes.subarray(FRONT_BYTES, FRONT_BYTES + headerBytes));
  const signature = new Uint8Array(bytes.subarray(FRONT_BYTES + headerBytes, stateAt));
  const state = new Uint8Array(bytes.buffer, bytes.byteOffset + stateAt, bytes.byteLength - stateAt);
  return joinCheckpoint({ payload, signature }, state, limits);
}

/** The name of a checkpoint, of which a header with its digest is enough. */
export function refOf({ header, digest }: { readonly header: Header; readonly digest: string }): CheckpointRef {
  return { era: header.era, major: header.major, tick: header.tick, digest };
}

function made(checkpoint: Checkpoint): Checkpoint {
  whole.add(checkpoint);
  return checkpoint;
}

function complain(reason: string): Fault {
  return new Fault({ code: "CHECKPOINT_INVALID", reason });
}
