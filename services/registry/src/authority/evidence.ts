// What a command shows: a signed checkpoint or a relinquish token. Read here, so that `decide` sees plain values.
//
// EI-11  A head is believed as far as its answer depends on it: always for what hands the agent on, and for a report only
//        where it confirms a base or would write a conflict (authority.ts asks `verifyShown` then).

import { fromBinary } from "@bufbuild/protobuf";
import { Fault, isFault } from "@godwit/common/fault";
import type { CheckpointRef, SessionId, SignedBytes, TokenClaims } from "@godwit/common/lease";
import {
  digestFromBytes,
  digestOf,
  type IdentifiedGenesis,
  readGenesis,
  readHeader,
  readToken,
  verifyHeader,
} from "@godwit/lineage";
import { RelinquishTokenSchema } from "@godwit/proto/godwit/lineage/v1/lineage";

export interface ShownHead {
  readonly signed: SignedBytes;
  readonly agentId: string;
  readonly ref: CheckpointRef;
  /** Bytes of the genesis; only at tick 0. */
  readonly genesis: Uint8Array | undefined;
}

/** What the header says, whoever has signed it. Throws Fault CHECKPOINT_INVALID; also when it is not of `agentId`. */
export function readShownHead(signed: SignedBytes, agentId: string | undefined): ShownHead {
  const header = readHeader(signed.payload);
  if (agentId !== undefined && header.agentId !== agentId) {
    throw new Fault({ code: "CHECKPOINT_INVALID", reason: `it is of agent ${header.agentId}, not of ${agentId}` });
  }
  const { era, major, tick, genesis } = header;
  return { signed, agentId: header.agentId, ref: { era, major, tick, digest: digestOf(signed.payload) }, genesis };
}

/** Throws Fault CHECKPOINT_INVALID unless the host that the registry's grant names has signed it. */
export function verifyShown({ signed }: ShownHead, registryPublicKey: Uint8Array): void {
  try {
    verifyHeader(signed, registryPublicKey);
  } catch (error) {
    if (isFault(error, "SIGNATURE_INVALID", "GRANT_INVALID")) {
      throw new Fault({ code: "CHECKPOINT_INVALID", reason: error.message }, { cause: error });
    }
    throw error;
  }
}

/** Throws Fault CHECKPOINT_INVALID unless it is the checkpoint of tick 0. */
export function genesisOf({ genesis }: ShownHead): IdentifiedGenesis {
  if (genesis === undefined) throw new Fault({ code: "CHECKPOINT_INVALID", reason: "it is not the one of tick 0" });
  return readGenesis(genesis);
}

/** What a token says, whoever has signed it. Throws Fault TOKEN_INVALID. */
export function readTokenClaims(signed: SignedBytes): TokenClaims {
  try {
    const token = fromBinary(RelinquishTokenSchema, signed.payload);
    const { agentId, era, major, handoffId, targetHostId, tick } = token;
    return {
      agentId,
      era,
      major,
      handoffId,
      targetHostId,
      tick,
      checkpointDigest: digestFromBytes(token.checkpointDigest),
    };
  } catch (cause) {
    throw new Fault({ code: "TOKEN_INVALID", reason: "it is cut short, or no relinquish token" }, { cause });
  }
}

export function isSignedByOwner(token: SignedBytes, owner: SessionId | undefined): boolean {
  if (owner === undefined) return false;
  try {
    readToken(token, owner.hostId);
    return true;
  } catch (error) {
    if (isFault(error, "SIGNATURE_INVALID", "TOKEN_INVALID", "RESOURCE_LIMIT")) return false;
    throw error;
  }
}
