// The relinquish token (protocol §2). By signing it the source gives up the right to tick under that major, for good.

import { create, toBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import type { SignedBytes, Term } from "@godwit/common/lease";
import { RelinquishTokenSchema } from "@godwit/proto/godwit/lineage/v1/lineage";
import { digestToBytes, hexOf, isDigest } from "./digest.ts";
import { isHostId, publicKeyOfHost, type Signer } from "./keys.ts";
import { open, seal } from "./seal.ts";
import { type Complaint, firstOf, isId, isU64, readMessage } from "./wire.ts";

export interface RelinquishToken extends Term {
  readonly agentId: string;
  readonly handoffId: string;
  readonly targetHostId: string;
  /** The checkpoint at which the source froze, and its tick. */
  readonly checkpointDigest: string;
  readonly tick: bigint;
}

export const MAX_TOKEN_BYTES = 1024;

/** Signs with the source host's key. Throws Fault TOKEN_INVALID for a token that nobody would accept. */
export function issueToken(token: RelinquishToken, signer: Signer): SignedBytes {
  const problem = tokenProblem(token);
  if (problem !== undefined) throw complain(problem);
  const message = create(RelinquishTokenSchema, { ...token, checkpointDigest: digestToBytes(token.checkpointDigest) });
  return seal("token", toBinary(RelinquishTokenSchema, message), signer);
}

/**
 * Total. Throws Fault SIGNATURE_INVALID when `sourceHostId` has not signed it, TOKEN_INVALID when it says nothing
 * sensible or there is no such host.
 */
export function readToken(signed: SignedBytes, sourceHostId: string): RelinquishToken {
  if (signed.payload.length > MAX_TOKEN_BYTES) throw complain(`it has more than ${MAX_TOKEN_BYTES} bytes`);
  if (!isHostId(sourceHostId)) throw complain("the source's host id is no Ed25519 peer id");
  const payload = open("token", signed, publicKeyOfHost(sourceHostId));
  const message = readMessage(RelinquishTokenSchema, payload, MAX_TOKEN_BYTES, complain);
  const { agentId, era, major, handoffId, targetHostId, tick } = message;
  const checkpointDigest = hexOf(message.checkpointDigest);
  const token = { agentId, era, major, handoffId, targetHostId, checkpointDigest, tick };
  const problem = tokenProblem(token);
  if (problem !== undefined) throw complain(problem);
  return token;
}

const complain: Complaint = (reason) => new Fault({ code: "TOKEN_INVALID", reason });

function tokenProblem(token: RelinquishToken): string | undefined {
  return firstOf(
    !isDigest(token.agentId) && "the agent id is malformed",
    ![token.era, token.major, token.tick].every(isU64) && "the era, the major or the tick is out of range",
    !isId(token.handoffId) && "the handoff id is malformed",
    !isHostId(token.targetHostId) && "the target's host id is no Ed25519 peer id",
    !isDigest(token.checkpointDigest) && "the checkpoint's digest is malformed",
  );
}
