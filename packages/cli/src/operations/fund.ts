// Adding to an agent's budget, once, whatever becomes of the answers: whoever pays chooses an id, and repeats that.

import type { Entropy } from "@godwit/common/clock";
import { Fault, type FaultCode, isFault } from "@godwit/common/fault";
import type { Microcents } from "@godwit/common/money";
import { fundingIdFromBytes, fundingIdToBytes } from "@godwit/lineage";
import type { FundAgentResponse } from "@godwit/proto/godwit/host/v1/host";
import type { Session } from "../session.ts";
import { type Host, knownHost } from "./hosts.ts";
import { type FoundAgent, findAgent, ownerHost, reasonOf } from "./records.ts";

export interface FundRequest {
  readonly agent: string;
  readonly amount: Microcents;
  /** In hex. */
  readonly id: string;
  /** Undefined: who has the agent, or a holder that can take it up. */
  readonly on: Host | undefined;
}

export interface Funding {
  readonly host: Host;
  readonly answer: FundAgentResponse;
}

/** After these it may have been applied: who has the agent by now tells. */
const UNKNOWN: readonly FaultCode[] = [
  "RPC_FAILED",
  "DEADLINE_EXCEEDED",
  "CANCELLED",
  "SHUTTING_DOWN",
  "DISK_FAILED",
  "INTERNAL",
];

/** These say that somebody else has it. */
const ELSEWHERE: readonly FaultCode[] = ["AGENT_NOT_HERE", "OWNER_ALIVE"];

export function newFundingId(entropy: Entropy): string {
  return fundingIdFromBytes(entropy.bytes(16));
}

/**
 * Asks once more, with the same id, when the outcome is not known or the agent has moved on meanwhile. Throws Fault
 * FUNDING_UNKNOWN for a failure after which it may have been applied all the same.
 */
export async function fundAgent(session: Session, request: FundRequest): Promise<Funding> {
  const { id, amount } = request;
  let isUnknown = false;
  let agentId = request.agent;
  for (let asked = 1; ; asked++) {
    let isSent = false;
    try {
      const found = await findAgent(session, request.agent);
      ({ agentId } = found.record);
      const host = request.on ?? (await payee(session, found));
      isSent = true;
      const funding = { agentId, fundingId: fundingIdToBytes(id), amount };
      return { host, answer: await session.host(host.grpcAddress).fundAgent(funding, session.call()) };
    } catch (error) {
      const { aborted } = session.signal;
      isUnknown ||= isSent && (aborted || isFault(error, ...UNKNOWN));
      if (asked === 1 && isSent && !aborted && isFault(error, ...UNKNOWN, ...ELSEWHERE)) continue;
      if (!isUnknown || !(error instanceof Error)) throw error;
      const reason = error.message;
      throw new Fault({ code: "FUNDING_UNKNOWN", agentId, fundingId: id, reason }, { cause: error });
    }
  }
}

/** The owner's host; of an agent whose budget has ended a live host that can take it up, newest checkpoint first. */
async function payee(session: Session, found: FoundAgent): Promise<Host> {
  const { record, holders } = found;
  if (reasonOf(record) !== "unfunded") return await ownerHost(session, found);
  for (const id of [...holders.map(({ session: holder }) => holder?.hostId), record.owner?.hostId]) {
    const host = id === undefined ? undefined : await knownHost(session, id);
    if (host?.live === true) return host;
  }
  const reason = "no live host has announced a checkpoint of it: start one that has, or name one with --on";
  throw new Fault({ code: "NO_CANDIDATE", agentId: record.agentId, reason });
}
