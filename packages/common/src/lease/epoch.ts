/**
 * When an agent changed hands, and how often. `era` is the mark's counter under which it was acquired (or recovered after
 * its record was lost), `major` counts changes of ownership, `generation` the owner's lease renewals (protocol §2).
 */
export interface Epoch {
  readonly era: bigint;
  readonly major: bigint;
  readonly generation: bigint;
}

/** The part of an epoch that names an ownership. Where the protocol says *major*, this pair is compared. */
export interface Term {
  readonly era: bigint;
  readonly major: bigint;
}

/** Negative when `a` is older than `b`, 0 when they are the same, positive when it is newer. */
export function compareTerms(a: Term, b: Term): number {
  if (a.era !== b.era) return a.era < b.era ? -1 : 1;
  if (a.major !== b.major) return a.major < b.major ? -1 : 1;
  return 0;
}

export function sameTerm(a: Term, b: Term): boolean {
  return a.era === b.era && a.major === b.major;
}

/** Whether `a` is strictly newer than `b`: era, then major, then generation. */
export function supersedes(a: Epoch, b: Epoch): boolean {
  const order = compareTerms(a, b);
  return order !== 0 ? order > 0 : a.generation > b.generation;
}

export function formatTerm({ era, major }: Term): string {
  return `${era}.${major}`;
}
