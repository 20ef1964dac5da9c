// Between the messages of godwit.lineage.v1 and our types, for everyone who has them in a frame or a call.

import { create } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import type { CheckpointRef, SessionId, SignedBytes } from "@godwit/common/lease";
import {
  CheckpointRefSchema,
  type SessionRef,
  SessionRefSchema,
  type Signed,
  SignedSchema,
  type CheckpointRef as WireRef,
} from "@godwit/proto/godwit/lineage/v1/lineage";
import { digestFromBytes, digestToBytes } from "./digest.ts";
import { isHostId } from "./keys.ts";
import { isId } from "./wire.ts";

export function toProtoSigned({ payload, signature }: SignedBytes): Signed {
  return create(SignedSchema, { payload, signature });
}

/** Copies: what a call or a frame gives are views of its buffer. */
export function fromProtoSigned({ payload, signature }: Signed): SignedBytes {
  return { payload: new Uint8Array(payload), signature: new Uint8Array(signature) };
}

export function toProtoRef({ era, major, tick, digest }: CheckpointRef): WireRef {
  return create(CheckpointRefSchema, { era, major, tick, digest: digestToBytes(digest) });
}

/** Throws Fault INVALID_ARGUMENT for a malformed digest, naming `field`. */
export function fromProtoRef({ era, major, tick, digest }: WireRef, field = "checkpoint digest"): CheckpointRef {
  return { era, major, tick, digest: digestFromBytes(digest, field) };
}

export function toProtoSession({ hostId, bootId }: SessionId): SessionRef {
  return create(SessionRefSchema, { hostId, bootId });
}

/** Throws Fault INVALID_ARGUMENT for a malformed host or boot id. */
export function fromProtoSession({ hostId, bootId }: SessionRef): SessionId {
  if (!isHostId(hostId)) {
    throw new Fault({ code: "INVALID_ARGUMENT", field: "host id", reason: "give an Ed25519 peer id (12D3KooW…)" });
  }
  if (!isId(bootId)) {
    throw new Fault({ code: "INVALID_ARGUMENT", field: "boot id", reason: "give 1 to 128 printable characters" });
  }
  return { hostId, bootId };
}
