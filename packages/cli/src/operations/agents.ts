// Who runs where: what the registry knows, and what the hosts themselves say about the agents that they run.

import { isFault } from "@godwit/common/fault";
import type { AgentStatus } from "@godwit/proto/godwit/host/v1/host";
import type { AuthorityRecord } from "@godwit/proto/godwit/registry/v1/authority";
import type { Session } from "../session.ts";
import { type Host, listHosts } from "./hosts.ts";
import { isTerminated, listRecords, reasonOf, stateOf } from "./records.ts";

/** One agent, for `ps` and the live view. */
export interface AgentRow {
  readonly agentId: string;
  readonly name: string;
  readonly hostId: string | undefined;
  readonly host: string | undefined;
  /** The owner's local state; the registry's when the owner does not answer. */
  readonly state: string;
  /** What it waits for; empty when it ticks. */
  readonly reason: string;
  readonly era: bigint;
  readonly major: bigint;
  /** Of the newest tick; of the newest checkpoint that the registry knows when the owner does not answer. */
  readonly tick: bigint;
  /** Microcents; undefined when the owner does not answer. */
  readonly budget: bigint | undefined;
  readonly pricePerSecond: bigint | undefined;
  /** Whether the figures are the owner's own. */
  readonly fromOwner: boolean;
}

export interface Overview {
  readonly hosts: readonly Host[];
  readonly agents: readonly AgentRow[];
  /** Live hosts that did not answer. */
  readonly silent: readonly { readonly host: Host; readonly message: string }[];
}

/** For one host to say what it runs: the table must not wait for a host that hangs. */
const HOST_ANSWERS_WITHIN_MS = 3_000;

export async function overview(session: Session): Promise<Overview> {
  const [records, hosts] = await Promise.all([listRecords(session), listHosts(session)]);
  const asked = await Promise.all(hosts.filter(({ live }) => live).map((host) => askHost(session, host)));
  const statuses = new Map<string, Map<string, AgentStatus>>();
  const silent: { host: Host; message: string }[] = [];
  for (const { host, agents, message } of asked) {
    if (agents === undefined) silent.push({ host, message });
    else statuses.set(host.hostId, new Map(agents.map((agent) => [agent.agentId, agent])));
  }
  const agents = records.filter((record) => !isTerminated(record)).map((record) => rowOf(record, hosts, statuses));
  return { hosts, agents: agents.sort(byNameAndId), silent };
}

async function askHost(session: Session, host: Host) {
  const timeoutMs = Math.min(session.timeoutMs, HOST_ANSWERS_WITHIN_MS);
  try {
    const { agents } = await session.host(host.grpcAddress).listAgents({}, session.call(timeoutMs));
    return { host, agents, message: "" };
  } catch (error) {
    session.signal.throwIfAborted();
    if (!isFault(error)) throw error;
    return { host, agents: undefined, message: error.message };
  }
}

function rowOf(
  record: AuthorityRecord,
  hosts: readonly Host[],
  statuses: ReadonlyMap<string, ReadonlyMap<string, AgentStatus>>,
): AgentRow {
  const hostId = record.owner?.hostId;
  const host = hosts.find((candidate) => candidate.hostId === hostId);
  const status = hostId === undefined ? undefined : statuses.get(hostId)?.get(record.agentId);
  const row = {
    agentId: record.agentId,
    name: record.name,
    hostId,
    host: host?.name,
    era: record.era,
    major: record.major,
  };
  if (status === undefined) {
    const gone = host?.live === false && reasonOf(record) === "" ? "its host is gone" : reasonOf(record);
    const tick = record.head?.tick ?? 0n;
    const unknown = { budget: undefined, pricePerSecond: undefined, fromOwner: false };
    return { ...row, state: stateOf(record), reason: gone, tick, ...unknown };
  }
  const { state, reason, tick, budget, pricePerSecond } = status;
  return { ...row, state, reason: reason || reasonOf(record), tick, budget, pricePerSecond, fromOwner: true };
}

function byNameAndId(a: AgentRow, b: AgentRow): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.agentId < b.agentId ? -1 : 1;
}
