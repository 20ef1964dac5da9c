// Frames of /godwit/replicate/1 as bytes and back: how a committed checkpoint gets to the hosts that keep a copy (§8).
// Decoding is total: any bytes give a frame within the limits, or ClassifiedFault FRAME_INVALID. Data of chunks are views
// of the bytes that came. Digests are lower-case hex, sizes are bytes.

import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { CheckpointRef, SignedBytes } from "@godwit/common/lease";
import type { Failure } from "@godwit/common/retry";
import { toProtoRef } from "@godwit/lineage";
import { type ReplicationFrame, ReplicationFrameSchema } from "@godwit/proto/godwit/migration/v1/migration";
import type { ChunkFrame, SpineFrame } from "./frames.ts";
import { FRAME_LIMITS } from "./limits.ts";
import {
  frameInvalid,
  readAgentId,
  readDigest,
  readFrame,
  readReceipts,
  readRefused,
  readSigned,
  readSize,
  writeDigest,
  writeRefused,
} from "./wire.ts";

export interface ReplicaOfferFrame {
  readonly kind: "offer";
  readonly agentId: string;
  readonly checkpoint: SignedBytes;
  readonly manifest: Uint8Array;
  readonly moduleBytes: number;
  /** Encoded, newest last: what the agent can read as of the checkpoint. */
  readonly receipts: readonly Uint8Array[];
}

/** The agent is gone for good; nothing else follows. */
export interface ReplicaTerminatedFrame {
  readonly kind: "terminated";
  readonly agentId: string;
  readonly termination: SignedBytes;
}

/** A cut stream can look complete: only this ends a replica. */
export interface ReplicaEndFrame {
  readonly kind: "end";
  readonly stateDigest: string;
}

export interface ReplicaAcceptFrame {
  readonly kind: "accept";
  readonly needModule: boolean;
  /** False when it holds this checkpoint or a newer one; what it holds follows at once. */
  readonly needState: boolean;
  /** Digest of the newest header of the spine that the holder has, and with it all below. */
  readonly spineKnown: string | undefined;
}

export interface ReplicaHeldFrame {
  readonly kind: "held";
  /** What is on the holder's disk; `undefined` in the answer to a termination. */
  readonly checkpoint: CheckpointRef | undefined;
}

/** Never `ambiguous`. */
export interface ReplicaRefusedFrame {
  readonly kind: "refused";
  readonly failure: Failure;
}

/** Owner to holder. Spines come without receipts here: the offer has brought them. */
export type OwnerFrame =
  | ReplicaOfferFrame
  | ReplicaTerminatedFrame
  | ChunkFrame<"module" | "state">
  | SpineFrame
  | ReplicaEndFrame;

/** Holder to owner. */
export type HolderFrame = ReplicaAcceptFrame | ReplicaHeldFrame | ReplicaRefusedFrame;

type OfferMessage = Extract<ReplicationFrame["frame"], { case: "offer" }>["value"];

export function encodeOwnerFrame(frame: OwnerFrame): Uint8Array {
  switch (frame.kind) {
    case "offer": {
      const { agentId, checkpoint, manifest, moduleBytes, receipts } = frame;
      const value = { agentId, checkpoint, manifest, moduleBytes: BigInt(moduleBytes), receipts: [...receipts] };
      return encode({ case: "offer", value });
    }
    case "terminated":
      return encode({ case: "offer", value: { agentId: frame.agentId, terminated: frame.termination } });
    case "module":
    case "state":
      return encode({ case: frame.kind, value: { offset: BigInt(frame.offset), data: frame.data } });
    case "spine":
      return encode({ case: "spine", value: { headers: [...frame.headers], last: frame.last } });
    case "end":
      return encode({ case: "end", value: { stateDigest: writeDigest(frame.stateDigest) } });
  }
}

export function encodeHolderFrame(frame: HolderFrame): Uint8Array {
  switch (frame.kind) {
    case "accept": {
      const { needModule, needState, spineKnown } = frame;
      const known = spineKnown === undefined ? new Uint8Array() : writeDigest(spineKnown);
      return encode({ case: "accept", value: { needModule, needState, spineKnown: known } });
    }
    case "held":
      return encode({
        case: "held",
        value: frame.checkpoint === undefined ? {} : { checkpoint: toProtoRef(frame.checkpoint) },
      });
    case "refused":
      return encode({ case: "refused", value: writeRefused("", frame.failure) });
  }
}

export function decodeOwnerFrame(bytes: Uint8Array): OwnerFrame {
  const { frame } = readFrame(ReplicationFrameSchema, bytes);
  switch (frame.case) {
    case "offer":
      return readOffer(frame.value);
    case "module":
    case "state": {
      const { offset, data } = frame.value;
      const max = frame.case === "module" ? FRAME_LIMITS.maxModuleBytes : FRAME_LIMITS.maxStateBytes;
      return { kind: frame.case, offset: readSize(offset, max, "offset"), data };
    }
    case "spine": {
      const { headers, last, receipts } = frame.value;
      if (receipts.length > 0) throw frameInvalid("receipts come with the offer of a replica");
      return { kind: "spine", headers: headers.map((header) => readSigned(header, "header")), last, receipts: [] };
    }
    case "end":
      return { kind: "end", stateDigest: readDigest(frame.value.stateDigest, "digest of the state") };
    default:
      throw frameInvalid(frame.case === undefined ? "it says nothing" : `${frame.case} is for a holder to say`);
  }
}

/** `peerHostId`: for the text of a refusal that we do not know. */
export function decodeHolderFrame(bytes: Uint8Array, peerHostId: string): HolderFrame {
  const { frame } = readFrame(ReplicationFrameSchema, bytes);
  switch (frame.case) {
    case "accept": {
      const { needModule, needState, spineKnown } = frame.value;
      const known = spineKnown.length === 0 ? undefined : readDigest(spineKnown, "known spine");
      return { kind: "accept", needModule, needState, spineKnown: known };
    }
    case "held": {
      const { checkpoint } = frame.value;
      if (checkpoint === undefined) return { kind: "held", checkpoint: undefined };
      const { era, major, tick, digest } = checkpoint;
      return { kind: "held", checkpoint: { era, major, tick, digest: readDigest(digest, "checkpoint digest") } };
    }
    case "refused":
      return { kind: "refused", failure: readRefused(frame.value, peerHostId) };
    default:
      throw frameInvalid(frame.case === undefined ? "it says nothing" : `${frame.case} is for an owner to say`);
  }
}

function readOffer(offer: OfferMessage): ReplicaOfferFrame | ReplicaTerminatedFrame {
  const { maxManifestBytes, maxModuleBytes } = FRAME_LIMITS;
  const agentId = readAgentId(offer.agentId);
  if (offer.terminated !== undefined) {
    return { kind: "terminated", agentId, termination: readSigned(offer.terminated, "termination") };
  }
  if (offer.manifest.length > maxManifestBytes) {
    throw frameInvalid(`its manifest has ${offer.manifest.length} bytes, more than ${maxManifestBytes}`);
  }
  return {
    kind: "offer",
    agentId,
    checkpoint: readSigned(offer.checkpoint, "checkpoint"),
    manifest: new Uint8Array(offer.manifest),
    moduleBytes: readSize(offer.moduleBytes, maxModuleBytes, "size of the module"),
    receipts: readReceipts(offer.receipts),
  };
}

function encode(frame: MessageInitShape<typeof ReplicationFrameSchema>["frame"] & {}): Uint8Array {
  return toBinary(ReplicationFrameSchema, create(ReplicationFrameSchema, { frame }));
}
