// The registry's word on an agent beside its lineage. The lineage is signed by those whom it names; the history and the
// record are not, so they are shown as what they are, and wherever the two say different things, that is said loudly.

import { compareTerms, formatTerm, type Term } from "@godwit/common/lease";
import { fromProtoRef, type LineageOwner, type LineageReport } from "@godwit/lineage";
import type { AuthorityRecord, HistoryEntry } from "@godwit/proto/godwit/registry/v1/authority";

export interface Finding {
  readonly kind: string;
  readonly detail: string;
}

export interface RegistryWord {
  readonly record: AuthorityRecord;
  /** Newest first. `undefined`: it was not to be had. */
  readonly history: readonly HistoryEntry[] | undefined;
}

/** Commands that begin a major, and the origins that owners give for it. */
const BEGINNINGS: ReadonlyMap<string, readonly LineageOwner["origin"][]> = new Map([
  ["acquire", ["created"]],
  ["claim", ["migrated", "recovered"]], // an owner that learnt of its claim from the record calls it a recovery
  ["recover", ["recovered", "recovered-after-store-loss"]],
]);

/** How a major began, as the history has it. */
export function beginningOf(history: readonly HistoryEntry[], term: Term): HistoryEntry | undefined {
  return history.findLast((entry) => compareTerms(entry, term) === 0 && BEGINNINGS.has(entry.command));
}

/** The operator's choices between two majors. */
export function choicesBetween(history: readonly HistoryEntry[], from: Term, to: Term): readonly HistoryEntry[] {
  return history.filter((entry) => {
    return entry.command === "force_recover" && compareTerms(entry, from) > 0 && compareTerms(entry, to) < 0;
  });
}

/** Where what the registry says and what is signed cannot both be true. */
export function contradictionsOf(report: LineageReport, { record, history }: RegistryWord): readonly Finding[] {
  return [...recordContradictions(report, record), ...(history === undefined ? [] : ofHistory(report, history))];
}

function recordContradictions({ owners, head }: LineageReport, record: AuthorityRecord): readonly Finding[] {
  const findings: Finding[] = [];
  const known = record.head;
  if (known !== undefined && head !== undefined && compareTerms(known, head) === 0 && known.tick === head.tick) {
    const digest = fromProtoRef(known).digest;
    if (digest !== head.digest) {
      const detail = `of tick ${head.tick}, major ${formatTerm(head)}, the registry knows ${short(digest)}, the lineage has ${short(head.digest)}`;
      findings.push({ kind: "registry-head", detail });
    }
  }
  for (const { startedFrom, ...term } of record.bases) {
    const owner = owners.find((candidate) => compareTerms(candidate, term) === 0);
    if (owner?.base === undefined || startedFrom === undefined) continue;
    const said = fromProtoRef(startedFrom);
    if (said.digest === owner.base.digest) continue;
    const detail = `major ${formatTerm(term)} started from ${short(said.digest)} (tick ${said.tick}) by the registry's record, and from ${short(owner.base.digest)} (tick ${owner.base.tick}) by its owner's signature`;
    findings.push({ kind: "registry-base", detail });
  }
  return findings;
}

function ofHistory({ owners, forks }: LineageReport, history: readonly HistoryEntry[]): readonly Finding[] {
  const findings: Finding[] = [];
  for (const owner of owners) {
    const entry = beginningOf(history, owner);
    if (entry === undefined) continue; // older than the history, or lost with the store
    const major = `major ${formatTerm(owner)}`;
    const { hostId = "nobody", bootId = "" } = entry.owner ?? {};
    if (hostId !== owner.hostId || (owner.bootId !== undefined && bootId !== owner.bootId)) {
      const detail = `the history gives ${major} to session ${hostId}/${bootId}, the signed grant to ${owner.hostId}/${owner.bootId ?? "?"}`;
      findings.push({ kind: "history-owner", detail });
    }
    if (BEGINNINGS.get(entry.command)?.includes(owner.origin) === false) {
      const detail = `${major} began with ${entry.command} by the history, and was ${owner.origin} by its owner's signature`;
      findings.push({ kind: "history-origin", detail });
    }
    if (owner.base !== undefined && entry.tick !== owner.base.tick) {
      const detail = `${major} began at tick ${entry.tick} by the history, and at tick ${owner.base.tick} by its owner's signature`;
      findings.push({ kind: "history-base", detail });
    }
  }
  const oldest = history.at(-1);
  for (const fork of forks) {
    const { settledBy } = fork;
    if (settledBy === undefined || oldest === undefined || compareTerms(oldest, fork) > 0) continue;
    if (choicesBetween(history, fork, settledBy).length > 0) continue;
    const detail = `the agent goes on after two checkpoints of tick ${fork.tick}, major ${formatTerm(fork)}, and the history knows of no operator's choice`;
    findings.push({ kind: "history-choice", detail });
  }
  return findings;
}

function short(digest: string): string {
  return digest.slice(0, 12);
}
