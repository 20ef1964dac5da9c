// The registry's statement that an agent is gone for good (protocol §4, terminate). Who holds it never recovers the agent.

import { create, toBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import type { SignedBytes, Term } from "@godwit/common/lease";
import { TerminationSchema } from "@godwit/proto/godwit/lineage/v1/lineage";
import { isDigest } from "./digest.ts";
import type { Signer } from "./keys.ts";
import { open, seal } from "./seal.ts";
import { type Complaint, firstOf, isI64, isId, isU64, readMessage } from "./wire.ts";

export interface Termination extends Term {
  readonly agentId: string;
  readonly incarnation: string;
  /** Wall clock of the registry, ns since 1970; for people, never for decisions. */
  readonly issuedAtNs: bigint;
}

export const MAX_TERMINATION_BYTES = 1024;

/** Signs with the registry's key. Throws Fault LINEAGE_INVALID for a termination that nobody would accept. */
export function issueTermination(termination: Termination, signer: Signer): SignedBytes {
  const problem = terminationProblem(termination);
  if (problem !== undefined) throw complain(problem);
  const { agentId, era, major, incarnation, issuedAtNs: issuedAtUnixNs } = termination;
  const message = create(TerminationSchema, { agentId, era, major, incarnation, issuedAtUnixNs });
  return seal("termination", toBinary(TerminationSchema, message), signer);
}

/** Total. Throws Fault SIGNATURE_INVALID when it is not the registry's, LINEAGE_INVALID when it says nothing sensible. */
export function readTermination(signed: SignedBytes, registryPublicKey: Uint8Array): Termination {
  if (signed.payload.length > MAX_TERMINATION_BYTES) throw complain(`it has more than ${MAX_TERMINATION_BYTES} bytes`);
  const payload = open("termination", signed, registryPublicKey);
  const message = readMessage(TerminationSchema, payload, MAX_TERMINATION_BYTES, complain);
  const { agentId, era, major, incarnation, issuedAtUnixNs: issuedAtNs } = message;
  const termination = { agentId, era, major, incarnation, issuedAtNs };
  const problem = terminationProblem(termination);
  if (problem !== undefined) throw complain(problem);
  return termination;
}

const complain: Complaint = (reason) => new Fault({ code: "LINEAGE_INVALID", reason: `of its termination, ${reason}` });

function terminationProblem({ agentId, era, major, incarnation, issuedAtNs }: Termination): string | undefined {
  return firstOf(
    !isDigest(agentId) && "the agent id is malformed",
    (!isU64(era) || !isU64(major)) && "the era or the major is out of range",
    !isId(incarnation) && "the incarnation is malformed",
    !isI64(issuedAtNs) && "the time is out of range",
  );
}
