// A checkpoint by itself: who signed it, and by what right.

import type { CheckpointRef, SignedBytes } from "@godwit/common/lease";
import { refOf } from "./checkpoint.ts";
import { custodian } from "./custody.ts";
import { digestOf } from "./digest.ts";
import { type Grant, readGrant } from "./grant.ts";
import { type Header, readHeader } from "./header.ts";
import { publicKeyOfHost } from "./keys.ts";
import { open } from "./seal.ts";

export interface VerifiedHeader {
  readonly header: Header;
  readonly signed: SignedBytes;
  readonly digest: string;
  readonly ref: CheckpointRef;
  readonly signerHostId: string;
  /** `undefined` only at tick 0. */
  readonly grant: Grant | undefined;
}

/**
 * I3: signed by the host that the registry's grant of its own (agent, era, major) names; tick 0 by the host in the genesis
 * that gives the agent its id. Says nothing about what it descends from.
 * Total. Throws Fault CHECKPOINT_INVALID, GRANT_INVALID or SIGNATURE_INVALID.
 */
export function verifyHeader(signed: SignedBytes, registryPublicKey: Uint8Array): VerifiedHeader {
  const header = readHeader(signed.payload);
  const grant = header.grant && readGrant(header.grant, registryPublicKey);
  const signerHostId = custodian(header, grant);
  open("checkpoint", signed, publicKeyOfHost(signerHostId));
  const digest = digestOf(signed.payload);
  return { header, signed, digest, ref: refOf({ header, digest }), signerHostId, grant };
}
