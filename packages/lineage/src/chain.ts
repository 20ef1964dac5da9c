// What must hold between verified headers of one agent. All lists come oldest first: by major, then by tick.
//
// EI-3   One chain: each checkpoint follows the one that it names, and nothing lies between the two.
// EI-10  Once a source has signed a major away at a checkpoint, nothing of that major comes after that checkpoint.
// EI-11  No two checkpoints of one major and tick.
// I1     A major has one owner, and one base that it started from.
// I6     What one checkpoint left, of budget and of remainder, is what the next one charges to. No funding is forgotten, so
//        none can be applied twice.

import { formatTerm, sameCheckpoint, sameSession, sameTerm } from "@godwit/common/lease";
import { carriedProblem } from "./carried.ts";
import type { Header } from "./header.ts";
import type { VerifiedHeader } from "./verify-header.ts";
import { describeRef } from "./verify-spine.ts";

export type LineageProblemKind =
  /** Nothing verifies. */
  | "empty"
  /** A header does not verify by itself. */
  | "invalid"
  /** A header is of another agent. */
  | "foreign"
  /** EI-11 */
  | "fork"
  /** A base is missing, or is not the one that was named. */
  | "broken-spine"
  /** EI-3 */
  | "broken-link"
  /** I1: the checkpoints of one major disagree on its owner, or on how it started. */
  | "owners"
  /** EI-10 */
  | "ticked-after-handoff"
  /** I6 */
  | "money";

export interface LineageProblem {
  readonly kind: LineageProblemKind;
  readonly detail: string;
}

/** `settled`: majors whose forks an operator has decided since (settled.ts). */
export function forkProblems(
  own: readonly VerifiedHeader[],
  settled: ReadonlySet<string> = new Set(),
): readonly LineageProblem[] {
  const problems: LineageProblem[] = [];
  for (const [a, b] of pairs(own)) {
    if (sameTerm(a.ref, b.ref) && a.ref.tick === b.ref.tick && !settled.has(formatTerm(a.ref))) {
      problems.push({ kind: "fork", detail: `there are both ${describeRef(a.ref)} and ${describeRef(b.ref)}` });
    }
  }
  const [first, ...others] = own.filter(({ ref }) => ref.tick === 0n);
  for (const other of others) {
    if (first === undefined || sameTerm(first.ref, other.ref)) continue; // that was said above
    problems.push({
      kind: "fork",
      detail: `it begins both at ${describeRef(first.ref)} and ${describeRef(other.ref)}`,
    });
  }
  return problems;
}

/** What the checkpoints of each major say of it, orphans included. */
export function termProblems(
  own: readonly VerifiedHeader[],
  settled: ReadonlySet<string> = new Set(),
): readonly LineageProblem[] {
  const problems: LineageProblem[] = [];
  const newest = new Map<string, VerifiedHeader>();
  for (const entry of own) newest.set(formatTerm(entry.ref), entry);

  for (const [a, b] of pairs(own)) {
    if (!sameTerm(a.ref, b.ref)) continue;
    // The two branches of a fork were written side by side, so their renewals say nothing about each other.
    const disagreement = settled.has(formatTerm(a.ref)) ? startsDiffer(a, b) : disagreementOf(a, b);
    if (disagreement !== undefined) {
      problems.push({ kind: "owners", detail: `${describeRef(a.ref)} and ${describeRef(b.ref)} ${disagreement}` });
    }
  }
  for (const { header } of newest.values()) {
    const { base, era, major } = header;
    // A claim raises the major by one; from a base of an older major than that, the source itself had recovered.
    if (header.origin !== "migrated" || base === undefined || base.era !== era || base.major + 1n !== major) continue;
    const last = newest.get(formatTerm(base));
    if (last === undefined || last.ref.tick <= base.tick) continue;
    const detail = `there is ${describeRef(last.ref)}, though its host handed over at ${describeRef(base)}`;
    problems.push({ kind: "ticked-after-handoff", detail });
  }
  return problems;
}

/** Links and money along the lineage. `gaps`: how often the checkpoint before is not held. */
export function chainProblems(
  chain: readonly VerifiedHeader[],
  own: readonly VerifiedHeader[],
): { readonly gaps: number; readonly problems: readonly LineageProblem[] } {
  let gaps = 0;
  const problems: LineageProblem[] = [];
  const held = new Map(own.map((entry) => [entry.digest, entry]));
  for (const [before, { header, ref }] of pairs(chain)) {
    const follows = header.previous === undefined ? undefined : held.get(header.previous);
    // The checkpoint that it follows is of the tick before those that it charges, whether that is held or not.
    const lastCharged = (header.receipts[0]?.firstTick ?? 0n) - 1n;
    if (follows === undefined && before.ref.tick < lastCharged) {
      gaps += 1;
    } else if (follows !== before || before.ref.tick !== lastCharged) {
      const detail = `${describeRef(ref)} does not follow ${describeRef(before.ref)}`;
      problems.push({ kind: "broken-link", detail });
      continue;
    }
    const wrong = carriedProblem(before, header);
    if (wrong !== undefined) problems.push({ kind: "money", detail: `${describeRef(ref)} ${wrong}` });
  }
  return { gaps, problems };
}

function disagreementOf(a: VerifiedHeader, b: VerifiedHeader): string | undefined {
  const startDiffers = startsDiffer(a, b);
  if (startDiffers !== undefined || a.header.tick === 0n || b.header.tick === 0n) return startDiffers;
  if (a.header.generation > b.header.generation) return "are of one session, whose renewals went back";
  return undefined;
}

function startsDiffer(a: VerifiedHeader, b: VerifiedHeader): string | undefined {
  if (a.signerHostId !== b.signerHostId) return "are of one major and of two hosts";
  if (a.header.tick === 0n || b.header.tick === 0n) return undefined; // it has no grant: another session may acquire
  if (!sameSession(a.grant?.session, b.grant?.session)) return "are of one major and of two sessions";
  if (!sameStart(a.header, b.header)) return "do not agree on how their major started";
  return undefined;
}

function sameStart(a: Header, b: Header): boolean {
  const sameBase = a.base !== undefined && b.base !== undefined && sameCheckpoint(a.base, b.base);
  return sameBase && a.origin === b.origin && a.rolledBackFromTick === b.rolledBackFromTick;
}

function* pairs<T>(list: readonly T[]): Generator<readonly [T, T]> {
  let before: T | undefined;
  for (const entry of list) {
    if (before !== undefined) yield [before, entry];
    before = entry;
  }
}
