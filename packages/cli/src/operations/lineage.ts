// The signed headers of an agent, from whoever holds them, and what they prove with the registry's key alone.

import { Fault, isFault } from "@godwit/common/fault";
import { compareCheckpoints, type SignedBytes } from "@godwit/common/lease";
import { fromProtoRef, fromProtoSigned, type LineageReport, verifyLineage } from "@godwit/lineage";
import type { Session } from "../session.ts";
import { findHost, type Host, knownHost } from "./hosts.ts";
import { type FoundAgent, findAgent } from "./records.ts";

export interface Verification {
  readonly agentId: string;
  /** Who gave the headers. */
  readonly from: Host;
  readonly headers: number;
  readonly report: LineageReport;
  /** The lineage's own, and what does not fit the registry's record. */
  readonly problems: readonly { readonly kind: string; readonly detail: string }[];
  readonly holds: boolean;
}

/** `from`: a host to ask, instead of the owner and then the holders. Throws what the last of them answered when none has the lineage. */
export async function verifyAgent(session: Session, agent: string, from?: string): Promise<Verification> {
  const found = await findAgent(session, agent);
  const { record } = found;
  const [{ publicKey }, held] = await Promise.all([
    session.sessions.describeRegistry({}, session.call()),
    fetchHeaders(session, found, from),
  ]);
  const report = verifyLineage(held.headers, new Uint8Array(publicKey));
  const problems = [...report.problems.map(({ kind, detail }) => ({ kind: String(kind), detail }))];
  if (report.agentId !== undefined && report.agentId !== record.agentId) {
    problems.push({ kind: "other-agent", detail: `the headers are of agent ${report.agentId}` });
  }
  const known = record.head === undefined ? undefined : fromProtoRef(record.head);
  if (known !== undefined && (report.head === undefined || compareCheckpoints(report.head, known) < 0)) {
    const detail = `the registry knows a checkpoint of major ${known.major} and tick ${known.tick}, ${held.from.name} does not`;
    problems.push({ kind: "older-than-registry", detail });
  }
  return {
    agentId: record.agentId,
    from: held.from,
    headers: held.headers.length,
    report,
    problems,
    holds: problems.length === 0,
  };
}

async function fetchHeaders(session: Session, found: FoundAgent, from: string | undefined) {
  const { agentId } = found.record;
  let last: unknown = new Fault({ code: "AGENT_NOT_RUNNING", agentId, reason: "no host that is known holds it" });
  for (const host of await sources(session, found, from)) {
    try {
      const headers: SignedBytes[] = [];
      for await (const { header } of session.host(host.grpcAddress).getLineage({ agentId }, session.call())) {
        if (header !== undefined) headers.push(fromProtoSigned(header));
      }
      return { from: host, headers };
    } catch (error) {
      session.signal.throwIfAborted();
      if (!isFault(error)) throw error;
      last = error;
    }
  }
  throw last;
}

/** The owner first, then the holders, newest checkpoint first. */
async function sources(session: Session, { record, holders }: FoundAgent, from: string | undefined) {
  if (from !== undefined) return [await findHost(session, from)];
  const ids = [record.owner?.hostId, ...holders.map((holder) => holder.session?.hostId)];
  const distinct = [...new Set(ids.filter((id) => id !== undefined))];
  const hosts = await Promise.all(distinct.map((id) => knownHost(session, id)));
  return hosts.filter((host) => host !== undefined);
}
