// Agents as the registry has them: who owns which, and how to find one by what people call it.

import { Fault, isFault } from "@godwit/common/fault";
import {
  type AuthorityRecord,
  type AuthorityState,
  AuthorityStateSchema,
  type GetAgentResponse,
  RetiredReasonSchema,
} from "@godwit/proto/godwit/registry/v1/authority";
import type { Session } from "../session.ts";
import { type Host, knownHost } from "./hosts.ts";

const PAGE = 500;
const ID = /^[0-9a-f]{1,64}$/;

export async function listRecords(session: Session): Promise<readonly AuthorityRecord[]> {
  const records: AuthorityRecord[] = [];
  let pageToken = "";
  do {
    const page = await session.authority.listAgents({ pageSize: PAGE, pageToken }, session.call());
    records.push(...page.records);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return records;
}

export type FoundAgent = GetAgentResponse & { readonly record: AuthorityRecord };

/** `name`: an agent's id, a prefix that only it has, or a name that only it has. Faults: AGENT_UNKNOWN, AMBIGUOUS_ID. */
export async function findAgent(session: Session, name: string): Promise<FoundAgent> {
  if (ID.test(name)) {
    try {
      return await getAgent(session, name);
    } catch (error) {
      if (!isFault(error, "AGENT_UNKNOWN", "NO_RECORD")) throw error;
    }
  }
  const named = (await listRecords(session)).filter((record) => record.name === name && !isTerminated(record));
  const [only] = named;
  if (only === undefined) throw new Fault({ code: "AGENT_UNKNOWN", agentId: name });
  if (named.length > 1) throw new Fault({ code: "AMBIGUOUS_ID", prefix: name, matches: named.map((n) => n.agentId) });
  return await getAgent(session, only.agentId);
}

async function getAgent(session: Session, agentId: string): Promise<FoundAgent> {
  const found = await session.authority.getAgent({ agentId }, session.call());
  const { record } = found;
  if (record === undefined) throw new Fault({ code: "AGENT_UNKNOWN", agentId });
  return { ...found, record };
}

/** The host of the owner. Faults: AGENT_NOT_RUNNING when nobody owns the agent, HOST_UNKNOWN. */
export async function ownerHost(session: Session, { record, ownerSessionVoid }: FoundAgent): Promise<Host> {
  const { agentId, owner } = record;
  if (owner === undefined) {
    throw new Fault({ code: "AGENT_NOT_RUNNING", agentId, reason: "no host owns it" });
  }
  const host = await knownHost(session, owner.hostId);
  if (host === undefined) throw new Fault({ code: "HOST_UNKNOWN", hostId: owner.hostId });
  if (ownerSessionVoid && !host.live) {
    throw new Fault({ code: "AGENT_NOT_RUNNING", agentId, reason: `its host ${host.name} is gone` });
  }
  return host;
}

export function isTerminated(record: AuthorityRecord): boolean {
  return record.terminated !== undefined;
}

/** As the protocol spells it: ACTIVE_OWNER. */
export function stateOf({ state }: { readonly state: AuthorityState }): string {
  return AuthorityStateSchema.value[state]?.name.replace("AUTHORITY_STATE_", "") ?? `UNKNOWN(${state})`;
}

/** "stopped"; empty unless the agent is RETIRED. */
export function reasonOf(record: AuthorityRecord): string {
  if (isTerminated(record)) return "terminated";
  if (record.reason === 0) return "";
  const name = RetiredReasonSchema.value[record.reason]?.name.replace("RETIRED_REASON_", "") ?? "UNKNOWN";
  return name.toLowerCase().replaceAll("_", "-");
}
