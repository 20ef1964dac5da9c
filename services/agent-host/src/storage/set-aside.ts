// What a forced choice (force_recover, protocol §4) gives up of what a host holds. Pure: the store asks and moves.
//
// 1. The checkpoint that was chosen stays, and so does what it names as its past.
// 2. A checkpoint that was given up goes, with what may follow it: later ones of its major, unless another one is held in
//    its place, and every major that started from one that goes.
// 3. In doubt a checkpoint goes: set aside it is kept for inspection, in its place it might be resumed.

import { Fault } from "@godwit/common/fault";
import { type CheckpointRef, sameTerm } from "@godwit/common/lease";

export interface ForcedChoice {
  readonly chosen: CheckpointRef;
  /** Of the conflict, all but the chosen one. */
  readonly givenUp: readonly CheckpointRef[];
}

/** What the choice has to know of a header that is held. */
export interface Link {
  readonly ref: CheckpointRef;
  /** Digests. */
  readonly previous: string | undefined;
  readonly base: string | undefined;
}

/** Throws Fault INVALID_ARGUMENT for a choice that gives up what it chooses. */
export function checkChoice({ chosen, givenUp }: ForcedChoice): void {
  if (!givenUp.some(({ digest }) => digest === chosen.digest)) return;
  const reason = `checkpoint ${chosen.digest} is both chosen and given up: name the other one of the two`;
  throw new Fault({ code: "INVALID_ARGUMENT", field: "setAside", reason });
}

/** Digests of what goes. `held`: headers of one agent, oldest first. */
export function setAsideOf(held: readonly Link[], { chosen, givenUp }: ForcedChoice): ReadonlySet<string> {
  const kept = pastOf(held, chosen);
  const aside = new Set<string>();
  for (const { ref, base } of held) {
    if (kept.has(ref.digest)) continue;
    const startsOnOne = base !== undefined && aside.has(base);
    if (startsOnOne || givenUp.some((given) => mayFollow(held, given, ref))) aside.add(ref.digest);
  }
  return aside;
}

function pastOf(held: readonly Link[], chosen: CheckpointRef): ReadonlySet<string> {
  const links = new Map(held.map((link) => [link.ref.digest, link]));
  const past = new Set<string>();
  let at: string | undefined = chosen.digest;
  while (at !== undefined && !past.has(at)) {
    past.add(at);
    at = links.get(at)?.previous;
  }
  return past;
}

function mayFollow(held: readonly Link[], given: CheckpointRef, ref: CheckpointRef): boolean {
  if (!sameTerm(given, ref) || ref.tick < given.tick) return false;
  if (ref.tick === given.tick) return ref.digest === given.digest;
  return !held.some(
    (other) => sameTerm(other.ref, given) && other.ref.tick === given.tick && other.ref.digest !== given.digest,
  );
}
