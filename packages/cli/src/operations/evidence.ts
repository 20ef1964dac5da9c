// Looking for two signed checkpoints of one tick: among hosts, or in files that somebody kept.

import { Fault, isFault } from "@godwit/common/fault";
import { compareCheckpoints, type SignedBytes } from "@godwit/common/lease";
import {
  checkDoubleSigning,
  type DoubleSigning,
  decodeCheckpoint,
  decodeEvidence,
  decodeLineageFile,
  type Evidence,
  evidenceOf,
  findDoubleSignings,
} from "@godwit/lineage";
import type { Conflict } from "@godwit/proto/godwit/registry/v1/authority";
import type { Session } from "../session.ts";
import { readCarried } from "./files.ts";
import { findHost, type Host, listHosts } from "./hosts.ts";
import { type Copy, fetchCopy, keyOf } from "./lineage.ts";
import { findAgent } from "./records.ts";

export interface Proven {
  readonly evidence: Evidence;
  readonly proves: DoubleSigning;
}

export interface Search {
  /** Oldest first; the one of the record's conflict in front. */
  readonly found: readonly Proven[];
  readonly registryKey: string;
  readonly copies: readonly Copy[];
  /** Hosts that did not answer, or do not know the agent, and what they said. */
  readonly silent: readonly { readonly host: string; readonly message: string }[];
  /** What the registry's record says of two checkpoints. */
  readonly conflict: Conflict | undefined;
}

/** `from`: hosts to ask instead of all of them. */
export async function searchHosts(
  session: Session,
  agent: string,
  { from, registryKey }: { readonly from: readonly string[]; readonly registryKey: string | undefined },
): Promise<Search> {
  const { record } = await findAgent(session, agent);
  const key = registryKey ?? (await askForKey(session));
  const hosts =
    from.length === 0 ? await listHosts(session) : await Promise.all(from.map((name) => findHost(session, name)));
  const asked = await Promise.all(hosts.map((host) => ask(session, host, record.agentId)));
  const copies = asked.flatMap(({ copy }) => (copy === undefined || copy.headers.length === 0 ? [] : [copy]));
  const silent = asked.flatMap(({ host, message }) => (message === undefined ? [] : [{ host: host.name, message }]));
  const { conflict } = record;
  const found = prove(copies, key)
    .filter(({ proves }) => proves.agentId === record.agentId)
    .sort((a, b) => Number(isOf(conflict, b)) - Number(isOf(conflict, a)));
  return { found, registryKey: key, copies, silent, conflict };
}

/**
 * Files of checkpoints, lineages or evidence. Faults: EVIDENCE_INVALID with its flaw when two headers are given that prove
 * nothing; DISK_FAILED, and what the files' readers say.
 */
export function searchFiles(paths: readonly string[], registryKey: string): Search {
  const copies = paths.map((path) => ({ name: path, hostId: undefined, headers: headersIn(readCarried(path)) }));
  const headers = copies.flatMap((copy) => copy.headers);
  const [first, second, ...more] = headers;
  if (first !== undefined && second !== undefined && more.length === 0) evidenceOf(first, second, keyOf(registryKey));
  return { found: prove(copies, registryKey), registryKey, copies, silent: [], conflict: undefined };
}

/** Without any service. Faults: EVIDENCE_INVALID with its flaw, DISK_FAILED. */
export function checkFile(path: string, registryKey: string): DoubleSigning {
  return checkDoubleSigning(decodeEvidence(readCarried(path)), keyOf(registryKey));
}

export async function askForKey(session: Session): Promise<string> {
  const { publicKey } = await session.sessions.describeRegistry({}, session.call());
  return Buffer.from(publicKey).toString("hex");
}

function prove(copies: readonly Copy[], registryKey: string): Proven[] {
  const headers = copies.flatMap((copy) => copy.headers);
  const key = keyOf(registryKey);
  return findDoubleSignings(headers, key)
    .map((evidence) => ({ evidence, proves: checkDoubleSigning(evidence, key) }))
    .sort((a, b) => compareCheckpoints(a.proves.checkpoints[0], b.proves.checkpoints[0]));
}

async function ask(session: Session, host: Host, agentId: string) {
  try {
    return { host, copy: await fetchCopy(session, host, agentId), message: undefined };
  } catch (error) {
    session.signal.throwIfAborted();
    if (!isFault(error)) throw error;
    return { host, copy: undefined, message: error.message };
  }
}

function headersIn(bytes: Uint8Array): readonly SignedBytes[] {
  switch (new TextDecoder().decode(bytes.subarray(0, 4))) {
    case "GWCP":
      return [decodeCheckpoint(bytes).signed];
    case "GWLN":
      return decodeLineageFile(bytes).headers;
    case "GWEV":
      return decodeEvidence(bytes).headers;
    default: {
      const reason = "of its file, it is no checkpoint, lineage or evidence of Godwit";
      throw new Fault({ code: "EVIDENCE_INVALID", flaw: "malformed", reason });
    }
  }
}

function isOf(conflict: Conflict | undefined, { proves }: Proven): boolean {
  return (
    conflict !== undefined &&
    conflict.tick === proves.tick &&
    conflict.major === proves.major &&
    conflict.era === proves.era
  );
}
