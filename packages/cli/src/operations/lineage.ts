// The signed headers of an agent, from whoever holds them, and what they prove with the registry's key alone.

import { Fault, isFault } from "@godwit/common/fault";
import { compareCheckpoints, type SignedBytes } from "@godwit/common/lease";
import {
  decodeLineageFile,
  digestOf,
  encodeLineageFile,
  fromProtoRef,
  fromProtoSigned,
  type LineageReport,
  type LineageVerdict,
  verifyLineage,
} from "@godwit/lineage";
import type { AuthorityRecord, HistoryEntry } from "@godwit/proto/godwit/registry/v1/authority";
import type { Session } from "../session.ts";
import { readCarried } from "./files.ts";
import { findHost, type Host, knownHost, listHosts } from "./hosts.ts";
import { type FoundAgent, findAgent } from "./records.ts";
import { contradictionsOf, type Finding } from "./registry-word.ts";

/** What one host, or a file, shows of an agent. */
export interface Copy {
  /** The host's name, or the file's path. */
  readonly name: string;
  /** `undefined` for a file. */
  readonly hostId: string | undefined;
  readonly headers: readonly SignedBytes[];
}

export type Verdict = LineageVerdict | "contradicted";

export interface Verification {
  readonly agentId: string;
  /** Who gave the headers; the first is the one that was asked first. */
  readonly copies: readonly [Copy, ...Copy[]];
  /** How many different ones they gave. */
  readonly headers: number;
  readonly report: LineageReport;
  /** The key that all was checked with, in hex, and who says that it is the registry's. */
  readonly registryKey: string;
  readonly keyFrom: "caller" | "registry" | "file";
  /** Newest first. `undefined`: the registry was not asked, or does not say. */
  readonly history: readonly HistoryEntry[] | undefined;
  /** The lineage's own, and what does not fit the registry's record. */
  readonly problems: readonly Finding[];
  /** Where what is signed and the registry's word cannot both be true. */
  readonly contradictions: readonly Finding[];
  readonly verdict: Verdict;
  /** Neither problems nor contradictions. */
  readonly holds: boolean;
}

export interface VerifyRequest {
  /** Hosts to ask, instead of the owner and then the holders until one answers. */
  readonly from?: readonly string[];
  /** Ask every host that is there. */
  readonly all?: boolean;
  /** 32 bytes in hex: to check with, whatever the registry says. */
  readonly registryKey?: string | undefined;
}

/** Throws what the last host answered when none has the lineage. */
export async function verifyAgent(session: Session, agent: string, request: VerifyRequest = {}): Promise<Verification> {
  const found = await findAgent(session, agent);
  const { record } = found;
  const [{ publicKey }, copies, history] = await Promise.all([
    session.sessions.describeRegistry({}, session.call()),
    fetchCopies(session, found, request),
    historyOf(session, record.agentId),
  ]);
  const said = Buffer.from(publicKey).toString("hex");
  const registryKey = request.registryKey ?? said;
  const headers = distinct(copies);
  const report = verifyLineage(headers, keyOf(registryKey));
  const contradictions = [...contradictionsOf(report, { record, history })];
  if (said !== registryKey) {
    const detail = `the registry that answers has the public key ${said}, not the one that was given`;
    contradictions.push({ kind: "registry-key", detail });
  }
  return verification({
    agentId: record.agentId,
    copies,
    headers: headers.length,
    report,
    registryKey,
    keyFrom: request.registryKey === undefined ? "registry" : "caller",
    history,
    problems: [...report.problems, ...recordProblems(report, record, copies)],
    contradictions,
  });
}

/** What an export proves, without any service. Faults: DISK_FAILED, LINEAGE_INVALID for a file that cannot be read. */
export function verifyFile(
  path: string,
  { agent, registryKey }: { readonly agent?: string | undefined; readonly registryKey?: string | undefined },
): Verification {
  const { registryPublicKey, headers } = decodeLineageFile(readCarried(path));
  if (headers.length === 0) throw new Fault({ code: "LINEAGE_INVALID", reason: `there is not one header in ${path}` });
  const copies = [{ name: path, hostId: undefined, headers }] as const;
  const key = registryKey ?? Buffer.from(registryPublicKey).toString("hex");
  const all = distinct(copies);
  const report = verifyLineage(all, keyOf(key));
  const agentId = report.agentId ?? agent ?? "";
  const wrong = agent !== undefined && !agentId.startsWith(agent) && report.genesis?.name !== agent;
  return verification({
    agentId,
    copies,
    headers: all.length,
    report,
    registryKey: key,
    keyFrom: registryKey === undefined ? "file" : "caller",
    history: undefined,
    problems: wrong ? [...report.problems, otherAgent(agentId)] : report.problems,
    contradictions: [],
  });
}

/** The bytes of the export: everything that was shown, to be verified elsewhere. */
export function exportOf({ copies, registryKey }: Pick<Verification, "copies" | "registryKey">): Uint8Array {
  return encodeLineageFile({ registryPublicKey: keyOf(registryKey), headers: distinct(copies) });
}

/** All headers of an agent that this host shows. Throws what it answers. */
export async function fetchCopy(session: Session, host: Host, agentId: string): Promise<Copy> {
  const headers: SignedBytes[] = [];
  for await (const { header } of session.host(host.grpcAddress).getLineage({ agentId }, session.call())) {
    if (header !== undefined) headers.push(fromProtoSigned(header));
  }
  return { name: host.name, hostId: host.hostId, headers };
}

export function keyOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

/** Of all copies, each header once. */
export function distinct(copies: readonly Copy[]): readonly SignedBytes[] {
  const headers = new Map<string, SignedBytes>();
  for (const signed of copies.flatMap((copy) => copy.headers)) {
    headers.set(digestOf(Buffer.concat([signed.signature, signed.payload])), signed);
  }
  return [...headers.values()];
}

function verification(parts: Omit<Verification, "holds" | "verdict">): Verification {
  const { report, problems, contradictions } = parts;
  const holds = problems.length === 0 && contradictions.length === 0;
  const verdict = problems.length > 0 ? "broken" : holds ? report.verdict : "contradicted";
  return { ...parts, holds, verdict };
}

function recordProblems(report: LineageReport, record: AuthorityRecord, copies: readonly Copy[]): readonly Finding[] {
  const problems: Finding[] = [];
  if (report.agentId !== undefined && report.agentId !== record.agentId) problems.push(otherAgent(report.agentId));
  const known = record.head === undefined ? undefined : fromProtoRef(record.head);
  if (known !== undefined && (report.head === undefined || compareCheckpoints(report.head, known) < 0)) {
    const names = copies.map(({ name }) => name).join(", ");
    const detail = `the registry knows a checkpoint of major ${known.major} and tick ${known.tick}, ${names} does not`;
    problems.push({ kind: "older-than-registry", detail });
  }
  return problems;
}

function otherAgent(agentId: string): Finding {
  return { kind: "other-agent", detail: `the headers are of agent ${agentId}` };
}

async function historyOf(session: Session, agentId: string): Promise<readonly HistoryEntry[] | undefined> {
  try {
    return (await session.authority.getAgentHistory({ agentId }, session.call())).entries;
  } catch (error) {
    session.signal.throwIfAborted();
    if (!isFault(error)) throw error;
    return undefined; // what is signed is told without it
  }
}

async function fetchCopies(
  session: Session,
  found: FoundAgent,
  { from = [], all = false }: VerifyRequest,
): Promise<readonly [Copy, ...Copy[]]> {
  const { agentId } = found.record;
  let last: unknown = new Fault({ code: "AGENT_NOT_RUNNING", agentId, reason: "no host that is known holds it" });
  const copies: Copy[] = [];
  for (const host of await sources(session, found, { from, all })) {
    try {
      const copy = await fetchCopy(session, host, agentId);
      if (copy.headers.length > 0) copies.push(copy);
    } catch (error) {
      session.signal.throwIfAborted();
      // Who was named has to answer; of the others, one is enough.
      if (!isFault(error) || from.length > 0) throw error;
      last = error;
    }
    if (copies.length > 0 && !all && from.length === 0) break;
  }
  const [first, ...others] = copies;
  if (first === undefined) throw last;
  return [first, ...others];
}

/** The owner first, then the holders, newest checkpoint first; then, when all are asked, the rest of those that live. */
async function sources(
  session: Session,
  { record, holders }: FoundAgent,
  { from, all }: { readonly from: readonly string[]; readonly all: boolean },
): Promise<readonly Host[]> {
  if (from.length > 0) return await Promise.all(from.map((name) => findHost(session, name)));
  const ids = [record.owner?.hostId, ...holders.map((holder) => holder.session?.hostId)];
  const distinctIds = [...new Set(ids.filter((id) => id !== undefined))];
  const first = (await Promise.all(distinctIds.map((id) => knownHost(session, id)))).filter(
    (host) => host !== undefined,
  );
  if (!all) return first;
  const others = (await listHosts(session)).filter(({ hostId, live }) => live && !distinctIds.includes(hostId));
  return [...first, ...others];
}
