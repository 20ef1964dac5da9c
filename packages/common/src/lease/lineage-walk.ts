// What is on an agent's lineage, as far as its record tells (protocol §4, "On the lineage").
//
// GA-9  While a record is one after a loss of the store, every checkpoint of the lost time counts: nobody knows which of
//       them the lineage is.
// §4    What an operator's choice gave up is an orphan. Below the term of that choice two checkpoints of one major cannot be
//       told apart by their ticks, so only those count that the bases name by their digest (EI-6).

import { compareTerms, sameTerm, type Term } from "./epoch.ts";
import {
  type AfterLoss,
  type AuthorityRecord,
  type Base,
  type CheckpointRef,
  maxBases,
  sameCheckpoint,
} from "./record.ts";

/** `divergent`: the lineage has another checkpoint of that major and tick (EI-11). `orphan`: the walk does not meet it. */
export type Standing = "on-lineage" | "orphan" | "divergent";

/** What of a record's past changes the walk. A record is one. */
export interface Past {
  readonly forced?: Term | undefined;
  readonly afterLoss?: Pick<AfterLoss, "above" | "era"> | undefined;
}

/**
 * Starts at the newest base: checkpoints of its major are on the lineage. Goes to the checkpoint that it started from: of
 * that one's major those with a tick not above it are; then to the entry of that major, and so on. What is older than the
 * entries that are kept counts as an orphan.
 */
export function standing(
  bases: readonly Base[],
  head: CheckpointRef,
  candidate: CheckpointRef,
  { forced, afterLoss }: Past = {},
): Standing {
  if (forced !== undefined && compareTerms(candidate, forced) < 0) {
    return isNamed(bases, candidate) ? "on-lineage" : "orphan";
  }
  if (diverges(head, candidate) || bases.some(({ startedFrom }) => diverges(startedFrom, candidate)))
    return "divergent";
  if (afterLoss !== undefined && isOfLostTime(candidate, afterLoss)) return "on-lineage";

  for (const { term, startedFrom, lastTick } of walk(bases)) {
    if (sameTerm(term, candidate))
      return lastTick === undefined || candidate.tick <= lastTick ? "on-lineage" : "orphan";
    if (startedFrom === undefined) return "orphan";
  }
  return "orphan";
}

/** As `standing` by a record of whatever incarnation, seen from the present one (GA-9). */
export function standingUnder(
  mark: { readonly incarnation: string; readonly counter: bigint },
  record: AuthorityRecord,
  candidate: CheckpointRef,
): Standing {
  return standing(record.bases, record.head, candidate, { forced: record.forced, afterLoss: lossOf(record, mark) });
}

/** What counts as on the lineage because the store forgot; `undefined` when the record is one that it did not forget. */
export function lossOf(
  record: AuthorityRecord | undefined,
  mark: { readonly incarnation: string; readonly counter: bigint },
): Pick<AfterLoss, "above" | "era"> | undefined {
  if (record === undefined) return { above: undefined, era: mark.counter };
  if (record.incarnation === mark.incarnation) return record.afterLoss;
  if (record.afterLoss !== undefined) return { above: record.afterLoss.above, era: mark.counter };
  // The confirmation of an unconfirmed base may be among what was lost, so that major's checkpoints count too.
  const confirmed = record.unconfirmed === undefined ? record : record.bases[0];
  return { above: confirmed && { era: confirmed.era, major: confirmed.major }, era: mark.counter };
}

/** One checkpoint of a spine, and what its owner started from; tick 0 started from nothing. */
export interface SpineLink {
  readonly ref: CheckpointRef;
  readonly base: CheckpointRef | undefined;
}

/**
 * The bases that a checkpoint and its spine stand for: the checkpoint first, then base by base down to tick 0. What the first
 * major made after tick 0 started from that, in the same major: one entry, as `acquire` makes it.
 */
export function basesOfSpine(links: readonly SpineLink[]): readonly Base[] {
  return links
    .filter(({ ref }, at) => at === 0 || !sameTerm(ref, links[at - 1]?.ref ?? ref))
    .slice(0, maxBases)
    .map(({ ref, base }) => ({ era: ref.era, major: ref.major, startedFrom: base ?? ref }));
}

/** Two different checkpoints of one major and tick (EI-11). */
export function diverges(known: CheckpointRef, candidate: CheckpointRef): boolean {
  return sameTerm(known, candidate) && known.tick === candidate.tick && known.digest !== candidate.digest;
}

interface WalkStep {
  readonly term: Term;
  /** What that term started from; `undefined` where the walk ends. */
  readonly startedFrom: CheckpointRef | undefined;
  /** The newest tick of the term that is on the lineage; `undefined`: all are. */
  readonly lastTick: bigint | undefined;
}

function* walk(bases: readonly Base[]): Generator<WalkStep> {
  let term: Term | undefined = bases[0];
  let lastTick: bigint | undefined;
  while (term !== undefined) {
    const at: Term = term;
    const startedFrom = bases.find((base) => sameTerm(base, at))?.startedFrom;
    // Too old; or tick 0, which started from itself. Bases that lead forward are no lineage, and must not be walked for ever.
    const ends = startedFrom === undefined || compareTerms(startedFrom, at) >= 0;
    yield { term: at, startedFrom: ends ? undefined : startedFrom, lastTick };
    if (ends) return;
    term = startedFrom;
    lastTick = startedFrom.tick;
  }
}

/** Whether the walk meets it by its digest. */
function isNamed(bases: readonly Base[], candidate: CheckpointRef): boolean {
  for (const { term, startedFrom } of walk(bases)) {
    const named = startedFrom ?? bases.find((base) => sameTerm(base, term))?.startedFrom;
    if (named !== undefined && sameCheckpoint(named, candidate)) return true;
  }
  return false;
}

function isOfLostTime(candidate: CheckpointRef, { above, era }: Pick<AfterLoss, "above" | "era">): boolean {
  return candidate.era < era && (above === undefined || compareTerms(candidate, above) > 0);
}
