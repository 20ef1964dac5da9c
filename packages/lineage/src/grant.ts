// The registry's statement of who may extend an agent's lineage under one (era, major) (protocol §2).

import { create, toBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import type { SessionId, SignedBytes, Term } from "@godwit/common/lease";
import { GrantSchema } from "@godwit/proto/godwit/lineage/v1/lineage";
import { isDigest } from "./digest.ts";
import { isHostId, type Signer } from "./keys.ts";
import { open, seal } from "./seal.ts";
import { type Complaint, firstOf, isI64, isId, isU64, readMessage } from "./wire.ts";

export interface Grant extends Term {
  readonly agentId: string;
  readonly session: SessionId;
  readonly incarnation: string;
  /** Wall clock of the registry, ns since 1970; for people, never for decisions. */
  readonly issuedAtNs: bigint;
}

export const MAX_GRANT_BYTES = 1024;

/** Signs with the registry's key. Throws Fault GRANT_INVALID for a grant that nobody would accept. */
export function issueGrant(grant: Grant, signer: Signer): SignedBytes {
  const problem = grantProblem(grant);
  if (problem !== undefined) throw complain(problem);
  const { agentId, era, major, session, incarnation, issuedAtNs: issuedAtUnixNs } = grant;
  const message = create(GrantSchema, { agentId, era, major, session, incarnation, issuedAtUnixNs });
  return seal("grant", toBinary(GrantSchema, message), signer);
}

/** Total. Throws Fault SIGNATURE_INVALID when it is not the registry's, GRANT_INVALID when it says nothing sensible. */
export function readGrant(signed: SignedBytes, registryPublicKey: Uint8Array): Grant {
  if (signed.payload.length > MAX_GRANT_BYTES) throw complain(`it has more than ${MAX_GRANT_BYTES} bytes`);
  return decodeGrant(open("grant", signed, registryPublicKey));
}

/** What a grant says, whoever has signed it. Total; Fault GRANT_INVALID. */
export function decodeGrant(payload: Uint8Array): Grant {
  const message = readMessage(GrantSchema, payload, MAX_GRANT_BYTES, complain);
  const { agentId, era, major, session, incarnation } = message;
  if (session === undefined) throw complain("it names no session");
  const { hostId, bootId } = session;
  const grant = { agentId, era, major, session: { hostId, bootId }, incarnation, issuedAtNs: message.issuedAtUnixNs };
  const problem = grantProblem(grant);
  if (problem !== undefined) throw complain(problem);
  return grant;
}

const complain: Complaint = (reason) => new Fault({ code: "GRANT_INVALID", reason });

function grantProblem({ agentId, era, major, session, incarnation, issuedAtNs }: Grant): string | undefined {
  return firstOf(
    !isDigest(agentId) && "the agent id is malformed",
    (!isU64(era) || !isU64(major)) && "the era or the major is out of range",
    !isHostId(session.hostId) && "the host id is no Ed25519 peer id",
    !isId(session.bootId) && "the boot id is malformed",
    !isId(incarnation) && "the incarnation is malformed",
    !isI64(issuedAtNs) && "the time is out of range",
  );
}
