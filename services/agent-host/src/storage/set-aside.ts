// What a forced choice (force_recover, protocol §4) gives up of what a host holds. Pure: the store asks and moves.
//
// 1. What the record names as bases stays, and what those name as their past, one by one, as far as it is held.
// 2. Every other checkpoint below the choice's own term goes: of a major that is not among the bases' ones, newer than what
//    the next major started from, or beside the path.
// 3. Below a gap in a major nobody can tell by the links; that stays. It is in nobody's way, and to be resumed it would
//    need the registry, which takes the bases alone.

import { type CheckpointRef, compareTerms, formatTerm, type Term } from "@godwit/common/lease";

/** As the authority record has it: `forced`, and what its bases started from, newest first. */
export interface ForcedChoice {
  /** The term of the choice. It gives up nothing from there on. */
  readonly forced: Term;
  readonly lineage: readonly CheckpointRef[];
}

/** What has to be known of a header that is held. */
export interface Link {
  readonly ref: CheckpointRef;
  /** Digests. */
  readonly previous: string | undefined;
  readonly base: string | undefined;
}

/** A checkpoint that is known to be on the lineage. */
interface Step {
  readonly ref: CheckpointRef;
  /** What it follows is not held. */
  readonly gapBelow: boolean;
}

/** Digests of what goes, of one agent's headers. */
export function setAsideOf(held: readonly Link[], { forced, lineage }: ForcedChoice): ReadonlySet<string> {
  const below = lineage.filter((ref) => compareTerms(ref, forced) < 0);
  const oldest = below.at(-1);
  if (oldest === undefined) return new Set();
  const path = pathOf(held, below);
  const byTerm = Map.groupBy(path.values(), ({ ref }) => formatTerm(ref));
  const goes = ({ ref }: Link) => {
    if (compareTerms(ref, forced) >= 0 || path.has(ref.digest)) return false;
    const steps = byTerm.get(formatTerm(ref));
    // The record keeps the newest bases only: of what is older it says nothing.
    return steps === undefined ? compareTerms(ref, oldest) > 0 : !isInGap(ref, steps);
  };
  return new Set(held.filter(goes).map(({ ref }) => ref.digest));
}

/** By digest: the bases, and all that the links lead to from there. */
function pathOf(held: readonly Link[], lineage: readonly CheckpointRef[]): ReadonlyMap<string, Step> {
  const links = new Map(held.map((link) => [link.ref.digest, link]));
  const path = new Map<string, Step>();
  const waiting = [...lineage];
  for (let ref = waiting.pop(); ref !== undefined; ref = waiting.pop()) {
    if (path.has(ref.digest)) continue;
    const link = links.get(ref.digest);
    const before = link?.previous === undefined ? undefined : links.get(link.previous);
    const base = link?.base === undefined ? undefined : links.get(link.base);
    path.set(ref.digest, { ref, gapBelow: before === undefined });
    for (const next of [before, base]) if (next !== undefined) waiting.push(next.ref);
  }
  return path;
}

/** Whether it lies where the checkpoints between two steps of its major are not held. */
function isInGap(ref: CheckpointRef, steps: readonly Step[]): boolean {
  if (steps.some((step) => step.ref.tick === ref.tick)) return false;
  const above = steps.filter((step) => step.ref.tick > ref.tick).sort((a, b) => (a.ref.tick < b.ref.tick ? -1 : 1));
  return above[0]?.gapBelow === true;
}
