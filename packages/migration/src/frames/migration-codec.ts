// Frames of /godwit/migrate/1 as bytes and back. Decoding is total: any bytes give a frame within the limits, or
// ClassifiedFault FRAME_INVALID. Data of chunks are views of the bytes that came.

import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type MigrationFrame, MigrationFrameSchema } from "@godwit/proto/godwit/migration/v1/migration";
import type { MigrationFrameKind, SourceFrame, TargetFrame } from "./frames.ts";
import { FRAME_LIMITS } from "./limits.ts";
import {
  frameInvalid,
  readAgentId,
  readDigest,
  readFrame,
  readId,
  readReceipts,
  readRefused,
  readSigned,
  readSize,
  readText,
  writeDigest,
  writeRefused,
} from "./wire.ts";

type FrameOf<K extends NonNullable<MigrationFrame["frame"]["case"]>> = Extract<
  MigrationFrame["frame"],
  { case: K }
>["value"];

export function encodeSourceFrame(frame: SourceFrame): Uint8Array {
  switch (frame.kind) {
    case "offer": {
      const { kind: _, moduleDigest, moduleBytes, stateBytes, ...offer } = frame;
      const value = {
        ...offer,
        moduleDigest: writeDigest(moduleDigest),
        moduleBytes: BigInt(moduleBytes),
        stateBytes: BigInt(stateBytes),
      };
      return encode({ case: "offer", value });
    }
    case "module":
    case "state":
    case "replay":
      return encode({ case: frame.kind, value: { offset: BigInt(frame.offset), data: frame.data } });
    case "replay-end": {
      const value = { bytes: BigInt(frame.bytes), sha256: writeDigest(frame.digest) };
      return encode({ case: "replayEnd", value });
    }
    case "spine":
      return encode({ case: "spine", value: { ...frame, headers: [...frame.headers], receipts: [...frame.receipts] } });
    case "checkpoint": {
      const { kind: _, receipts, ...checkpoint } = frame;
      return encode({ case: "checkpoint", value: { ...checkpoint, receipts: [...receipts] } });
    }
    case "handoff":
      return encode({ case: "handoff", value: { handoffId: frame.handoffId, token: frame.token } });
    case "handoff-end": {
      const value = { stateBytes: BigInt(frame.stateBytes), stateDigest: writeDigest(frame.stateDigest) };
      return encode({ case: "handoffEnd", value });
    }
  }
}

export function encodeTargetFrame(frame: TargetFrame): Uint8Array {
  switch (frame.kind) {
    case "accept": {
      const { handoffId, needModule, pricePerSecond, spineKnown } = frame;
      const known = spineKnown === undefined ? new Uint8Array() : writeDigest(spineKnown);
      return encode({ case: "accept", value: { handoffId, needModule, pricePerSecond, spineKnown: known } });
    }
    case "prepared":
      return encode({ case: "prepared", value: { handoffId: frame.handoffId } });
    case "started": {
      const { handoffId, agentId, era, major } = frame;
      const checkpointDigest = writeDigest(frame.checkpointDigest);
      return encode({ case: "started", value: { handoffId, agentId, era, major, checkpointDigest } });
    }
    case "refused":
      return encode({ case: "refused", value: writeRefused(frame.handoffId, frame.failure) });
  }
}

export function decodeSourceFrame(bytes: Uint8Array): SourceFrame {
  const { frame } = readFrame(MigrationFrameSchema, bytes);
  switch (frame.case) {
    case "offer":
      return readOffer(frame.value);
    case "module":
    case "state":
    case "replay": {
      const { offset, data } = frame.value;
      const { maxModuleBytes: module, maxStateBytes: state, maxReplayBytes: replay } = FRAME_LIMITS;
      const max = { module, state, replay }[frame.case];
      return { kind: frame.case, offset: readSize(offset, max, "offset"), data };
    }
    case "replayEnd": {
      const { bytes: size, sha256 } = frame.value;
      return {
        kind: "replay-end",
        bytes: readSize(size, FRAME_LIMITS.maxReplayBytes, "size of the replay"),
        digest: readDigest(sha256, "digest of the replay"),
      };
    }
    case "spine": {
      const { headers, last, receipts } = frame.value;
      if (!last && receipts.length > 0) throw frameInvalid("receipts come with the last part of the spine");
      const signed = headers.map((header) => readSigned(header, "header"));
      return { kind: "spine", headers: signed, last, receipts: readReceipts(receipts) };
    }
    case "checkpoint":
      return readCheckpoint(frame.value);
    case "handoff": {
      const { handoffId, token } = frame.value;
      return { kind: "handoff", handoffId: readId(handoffId, "handoff id"), token: readSigned(token, "token") };
    }
    case "handoffEnd": {
      const { stateBytes, stateDigest } = frame.value;
      return {
        kind: "handoff-end",
        stateBytes: readSize(stateBytes, FRAME_LIMITS.maxStateBytes, "size of the state"),
        stateDigest: readDigest(stateDigest, "digest of the state"),
      };
    }
    default:
      throw frameInvalid(frame.case === undefined ? "it says nothing" : `${frame.case} is for a target to say`);
  }
}

/** `peerHostId`: for the text of a refusal that we do not know. */
export function decodeTargetFrame(bytes: Uint8Array, peerHostId: string): TargetFrame {
  const { frame } = readFrame(MigrationFrameSchema, bytes);
  switch (frame.case) {
    case "accept": {
      const { needModule, pricePerSecond, spineKnown } = frame.value;
      return {
        kind: "accept",
        handoffId: readId(frame.value.handoffId, "handoff id"),
        needModule,
        pricePerSecond,
        spineKnown: spineKnown.length === 0 ? undefined : readDigest(spineKnown, "known spine"),
      };
    }
    case "prepared":
      return { kind: "prepared", handoffId: readId(frame.value.handoffId, "handoff id") };
    case "started": {
      const { handoffId, agentId, checkpointDigest, era, major } = frame.value;
      return {
        kind: "started",
        handoffId: readId(handoffId, "handoff id"),
        agentId: readAgentId(agentId),
        checkpointDigest: readDigest(checkpointDigest, "checkpoint digest"),
        era,
        major,
      };
    }
    case "refused": {
      const { handoffId } = frame.value;
      const id = handoffId === "" ? "" : readId(handoffId, "handoff id");
      return { kind: "refused", handoffId: id, failure: readRefused(frame.value, peerHostId) };
    }
    default:
      throw frameInvalid(frame.case === undefined ? "it says nothing" : `${frame.case} is for a source to say`);
  }
}

/** What a frame is, by its first byte; undefined for what is none. Cheap, and says nothing about the rest. */
export function frameKindOf(bytes: Uint8Array): MigrationFrameKind | undefined {
  return KIND_OF_FIELD[(bytes[0] ?? 0) >> 3];
}

const KIND_OF_FIELD: Readonly<Record<number, MigrationFrameKind>> = {
  1: "offer",
  2: "module",
  3: "spine",
  4: "handoff",
  5: "state",
  6: "handoff-end",
  7: "checkpoint",
  8: "replay",
  9: "replay-end",
  10: "accept",
  11: "prepared",
  12: "started",
  13: "refused",
};

function readOffer(offer: FrameOf<"offer">): SourceFrame {
  const { maxManifestBytes, maxModuleBytes, maxStateBytes } = FRAME_LIMITS;
  const { era, major, tick, budget } = offer;
  if (offer.manifest.length > maxManifestBytes) {
    throw frameInvalid(`its manifest has ${offer.manifest.length} bytes, more than ${maxManifestBytes}`);
  }
  return {
    kind: "offer",
    handoffId: readId(offer.handoffId, "handoff id"),
    agentId: readAgentId(offer.agentId),
    era,
    major,
    tick,
    budget,
    name: readText(offer.name),
    manifest: new Uint8Array(offer.manifest),
    moduleDigest: readDigest(offer.moduleDigest, "module digest"),
    moduleBytes: readSize(offer.moduleBytes, maxModuleBytes, "size of the module"),
    stateBytes: readSize(offer.stateBytes, maxStateBytes, "size of the state"),
  };
}

function readCheckpoint(frame: FrameOf<"checkpoint">): SourceFrame {
  const { handoffId, checkpoint, receipts, receiptsKept, state } = frame;
  if (state.length > FRAME_LIMITS.chunkBytes) {
    throw frameInvalid(`a state of ${state.length} bytes has to come in chunks of at most ${FRAME_LIMITS.chunkBytes}`);
  }
  return {
    kind: "checkpoint",
    handoffId: readId(handoffId, "handoff id"),
    checkpoint: readSigned(checkpoint, "checkpoint"),
    receipts: readReceipts(receipts),
    receiptsKept,
    state,
  };
}

function encode(frame: MessageInitShape<typeof MigrationFrameSchema>["frame"] & {}): Uint8Array {
  return toBinary(MigrationFrameSchema, create(MigrationFrameSchema, { frame }));
}
