// What a command shows: a signed checkpoint or a relinquish token. Read here, so that `decide` sees plain values.
//
// EI-11  A head is believed as far as its answer depends on it: always for what hands the agent on, and for a report only
//        where it confirms a base or would write a conflict (authority.ts asks `verifyShown` then).

import { fromBinary } from "@bufbuild/protobuf";
import { Fault, isFault } from "@godwit/common/fault";
import {
  basesOfSpine,
  type CheckpointRef,
  type SessionId,
  type SignedBytes,
  type SpineFacts,
  type SpineLink,
  type TokenClaims,
} from "@godwit/common/lease";
import {
  digestFromBytes,
  digestOf,
  type IdentifiedGenesis,
  linkProblem,
  readGenesis,
  readHeader,
  readToken,
  type VerifiedHeader,
  verifyHeader,
} from "@godwit/lineage";
import { RelinquishTokenSchema } from "@godwit/proto/godwit/lineage/v1/lineage";

/** How many headers are verified before other calls get a turn. */
const VERIFIED_IN_A_ROW = 16;

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
  verified(signed, registryPublicKey);
}

function verified(signed: SignedBytes, registryPublicKey: Uint8Array): VerifiedHeader {
  try {
    return verifyHeader(signed, registryPublicKey);
  } catch (error) {
    if (isFault(error, "SIGNATURE_INVALID", "GRANT_INVALID")) {
      throw new Fault({ code: "CHECKPOINT_INVALID", reason: error.message }, { cause: error });
    }
    throw error;
  }
}

/**
 * GA-9: what the spine of a checkpoint says, once every header of it was verified down to tick 0. It takes a moment for each,
 * and other calls get their turn in between. Throws Fault LINEAGE_INVALID for a spine with a gap, CHECKPOINT_INVALID.
 */
export async function verifyShownSpine(
  head: ShownHead,
  spine: readonly SignedBytes[],
  registryPublicKey: Uint8Array,
): Promise<SpineFacts> {
  const top = verified(head.signed, registryPublicKey);
  const links: SpineLink[] = [{ ref: top.ref, base: top.header.base }];
  let lowest = top;
  for (const [index, signed] of spine.entries()) {
    if (index > 0 && index % VERIFIED_IN_A_ROW === 0) await nextTurn();
    const { base } = lowest.header;
    if (base === undefined) throw new Fault({ code: "LINEAGE_INVALID", reason: "the spine goes on after tick 0" });
    const below = verified(signed, registryPublicKey);
    const problem = linkProblem(lowest.header, base, below);
    if (problem !== undefined) throw new Fault({ code: "LINEAGE_INVALID", reason: problem });
    links.push({ ref: below.ref, base: below.header.base });
    lowest = below;
  }
  if (lowest.header.genesis === undefined) {
    const reason = "the spine ends before tick 0: show every header down to the agent's first checkpoint";
    throw new Fault({ code: "LINEAGE_INVALID", reason });
  }
  const { incarnation, name, recoveryPolicy } = readGenesis(lowest.header.genesis);
  return {
    bases: basesOfSpine(links),
    genesis: { incarnation, name, recoveryPolicy },
    grantedUnder: top.grant?.incarnation,
  };
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

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
