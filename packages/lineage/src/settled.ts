// Forks that are over: an operator chose one branch (force_recover, protocol §4), and what that gave up is an orphan,
// never a conflict again.
//
// A forced choice takes a major of its own, in which nobody ticks: after a fork in major m the lineage goes on with a
// recovery under m + 2 or later. A plain recovery would be m + 1, and the registry grants none while there is a conflict.
// In a new era the forced choice is major 0, so the recovery is 1 or later. That the skipped major was an operator's is
// the registry's word (its history has it); that the agent was recovered, from which checkpoint, is signed.

import { compareTerms, formatTerm, type Term } from "@godwit/common/lease";
import type { VerifiedHeader } from "./verify-header.ts";

export interface Fork extends Term {
  readonly tick: bigint;
  readonly digests: readonly string[];
  /** The major of the recovery that left the fork behind; `undefined` while nobody has decided. */
  readonly settledBy: Term | undefined;
}

/** Of verified headers of one agent, oldest first; `chain`: those of them that are on the lineage. */
export function findForks(own: readonly VerifiedHeader[], chain: readonly VerifiedHeader[]): readonly Fork[] {
  const places = Map.groupBy(own, ({ ref }) => `${formatTerm(ref)}/${ref.tick}`);
  const forks: Fork[] = [];
  for (const [first, ...others] of places.values()) {
    if (first === undefined || others.length === 0) continue;
    const { era, major, tick } = first.ref;
    const digests = [first, ...others].map(({ digest }) => digest);
    forks.push({ era, major, tick, digests, settledBy: settlingTerm(first.ref, chain) });
  }
  return forks;
}

/**
 * The chain without the branches that a forced choice gave up. In a major with a settled fork only what the checkpoint
 * that was built on names as its past, one by one, is on the lineage; below a gap nobody can tell, and all of it stays.
 */
export function withoutGivenUp(
  chain: readonly VerifiedHeader[],
  spine: readonly VerifiedHeader[],
  settled: ReadonlySet<string>,
): readonly VerifiedHeader[] {
  if (settled.size === 0) return chain;
  const byDigest = new Map(chain.map((entry) => [entry.digest, entry]));
  const kept = new Set<VerifiedHeader>();
  const lowest = new Map<string, bigint>();
  for (const from of spine) {
    const term = formatTerm(from.ref);
    let at: VerifiedHeader | undefined = from;
    while (at !== undefined && formatTerm(at.ref) === term && !kept.has(at)) {
      kept.add(at);
      lowest.set(term, at.ref.tick);
      at = at.header.previous === undefined ? undefined : byDigest.get(at.header.previous);
    }
  }
  return chain.filter((entry) => {
    const term = formatTerm(entry.ref);
    return !settled.has(term) || kept.has(entry) || entry.ref.tick < (lowest.get(term) ?? 0n);
  });
}

/** How many majors lie between two on the lineage in which nothing was written that is on it. */
export function skippedMajors(before: Term, after: Term): bigint {
  return after.era === before.era ? after.major - before.major - 1n : after.major;
}

function settlingTerm(fork: Term, chain: readonly VerifiedHeader[]): Term | undefined {
  const next = chain.find(({ ref }) => compareTerms(ref, fork) > 0);
  if (next === undefined || next.header.origin === "migrated" || next.header.origin === "created") return undefined;
  return skippedMajors(fork, next.ref) > 0n ? { era: next.ref.era, major: next.ref.major } : undefined;
}
