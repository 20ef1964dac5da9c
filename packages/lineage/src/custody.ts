import { Fault } from "@godwit/common/fault";
import { sameTerm } from "@godwit/common/lease";
import { readGenesis } from "./genesis.ts";
import type { Grant } from "./grant.ts";
import type { Header } from "./header.ts";

/**
 * The host that has to sign this header (I3): the one in the grant of its own (agent, era, major); at tick 0 the one in
 * its genesis, whose digest is the agent's id. Every receipt has to be that host's too.
 * Throws Fault GRANT_INVALID for a grant of something else, CHECKPOINT_INVALID for a genesis of another agent.
 */
export function custodian(header: Header, grant: Grant | undefined): string {
  const hostId = grant === undefined ? creator(header) : grantee(header, grant);
  if (header.receipts.some((receipt) => receipt.hostId !== hostId)) {
    throw new Fault({ code: "CHECKPOINT_INVALID", reason: "it carries a receipt of another host than its owner" });
  }
  return hostId;
}

function grantee(header: Header, grant: Grant): string {
  if (grant.agentId !== header.agentId) {
    throw new Fault({ code: "GRANT_INVALID", reason: "it is the grant of another agent" });
  }
  if (!sameTerm(grant, header)) {
    throw new Fault({
      code: "GRANT_INVALID",
      reason: `it is the grant of major ${grant.era}.${grant.major}, not of ${header.era}.${header.major}`,
    });
  }
  return grant.session.hostId;
}

function creator(header: Header): string {
  const genesis = header.genesis === undefined ? undefined : readGenesis(header.genesis);
  if (genesis === undefined)
    throw new Fault({ code: "CHECKPOINT_INVALID", reason: "it has neither grant nor genesis" });
  if (genesis.agentId !== header.agentId) {
    throw new Fault({ code: "CHECKPOINT_INVALID", reason: "its genesis is the one of another agent" });
  }
  if (genesis.moduleDigest !== header.moduleDigest || genesis.manifestDigest !== header.manifestDigest) {
    throw new Fault({ code: "CHECKPOINT_INVALID", reason: "its genesis names another module or manifest" });
  }
  // T-35: the chain of an agent that was taken over goes on from the file that it was taken from.
  if (header.previous !== genesis.imported?.digest) {
    const reason = "the checkpoint before its tick 0 is not the one that its genesis says was taken over";
    throw new Fault({ code: "CHECKPOINT_INVALID", reason });
  }
  return genesis.creatorHostId;
}
