// What is on an agent's lineage, as far as its record tells (protocol §4, "On the lineage").

import { compareTerms, sameTerm, type Term } from "./epoch.ts";
import type { Base, CheckpointRef } from "./record.ts";

/** `divergent`: the lineage has another checkpoint of that major and tick (EI-11). `orphan`: the walk does not meet it. */
export type Standing = "on-lineage" | "orphan" | "divergent";

/**
 * Starts at the newest base: checkpoints of its major are on the lineage. Goes to the checkpoint that it started from: of
 * that one's major those with a tick not above it are; then to the entry of that major, and so on. What is older than the
 * entries that are kept counts as an orphan.
 */
export function standing(bases: readonly Base[], head: CheckpointRef, candidate: CheckpointRef): Standing {
  if (diverges(head, candidate) || bases.some(({ startedFrom }) => diverges(startedFrom, candidate)))
    return "divergent";

  let term: Term | undefined = bases[0];
  let lastTick: bigint | undefined;
  while (term !== undefined) {
    const at: Term = term;
    if (sameTerm(at, candidate)) return lastTick === undefined || candidate.tick <= lastTick ? "on-lineage" : "orphan";
    const startedFrom = bases.find((base) => sameTerm(base, at))?.startedFrom;
    // Too old; or tick 0, which started from itself. Bases that lead forward are no lineage, and must not be walked for ever.
    if (startedFrom === undefined || compareTerms(startedFrom, at) >= 0) return "orphan";
    term = startedFrom;
    lastTick = startedFrom.tick;
  }
  return "orphan";
}

function diverges(known: CheckpointRef, candidate: CheckpointRef): boolean {
  return sameTerm(known, candidate) && known.tick === candidate.tick && known.digest !== candidate.digest;
}
