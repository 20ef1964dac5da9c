// What a lineage tells people: who owned the agent, when, why, what was given up, and what the rest is that a host shows.
//
// Each part stands on somebody's signature, which README.md names: the registry's grant for who and when it was granted, the
// owner's header for everything else. Why the registry gave the agent to another owner is in no signature.

import { type CheckpointRef, compareTerms, formatTerm, type Term } from "@godwit/common/lease";
import type { Microcents } from "@godwit/common/money";
import { type Imported, readGenesis } from "./genesis.ts";
import type { Origin } from "./header.ts";
import { isFunding } from "./receipt.ts";
import { type Fork, skippedMajors } from "./settled.ts";
import type { VerifiedHeader } from "./verify-header.ts";

/** Sums over the receipts of the headers that are held. */
export interface ReceiptTotals {
  /** Of all, fundings too. */
  readonly count: number;
  readonly elapsedNs: bigint;
  readonly cost: Microcents;
  readonly fundings: number;
  readonly funded: Microcents;
}

/** One owner on the lineage, under one major. Times are ns since 1970 of the clock that is named, for people. */
export interface LineageOwner {
  readonly era: bigint;
  readonly major: bigint;
  readonly hostId: string;
  /** `undefined` when only the checkpoint of tick 0 is held. */
  readonly bootId: string | undefined;
  readonly origin: Origin;
  /** The era rose: the agent was taken up again after its record was lost (GA-9), whatever the owner calls that. */
  readonly afterStoreLoss: boolean;
  /** Of the creator of an agent that was taken over from the seed system: what it went on from. */
  readonly imported: Imported | undefined;
  /** `undefined` for the creator. */
  readonly base: CheckpointRef | undefined;
  /** Who wrote the base. `undefined` for the creator, and where the base is not held. */
  readonly fromHostId: string | undefined;
  /** Majors before this one that left nothing on the lineage: recoveries that never ticked, or an operator's choice. */
  readonly skippedMajors: bigint;
  /** The tick after its base; 0 for the creator. */
  readonly firstTick: bigint;
  /** The newest checkpoint of it that is held, or that the next owner started from. */
  readonly lastTickSeen: bigint;
  readonly rolledBackFromTick: bigint | undefined;
  readonly rollback: Rollback | undefined;
  /** The registry's clock. */
  readonly grantedAtNs: bigint | undefined;
  /** The owner's clock: of its first and its last checkpoint that are held. */
  readonly firstWrittenAtNs: bigint;
  readonly lastWrittenAtNs: bigint;
  readonly receipts: ReceiptTotals;
}

/** An owner started from a checkpoint that was older than the newest of its major. */
export interface Rollback {
  /** Where it went on, and the newest tick that is known to be given up. */
  readonly toTick: bigint;
  readonly fromTick: bigint;
  readonly ticks: bigint;
  /** The owner knew and has signed it; else it learnt of the newer one never, or later. */
  readonly declared: boolean;
  /** What was given up is held, so it is proven, too. */
  readonly held: boolean;
}

export type OrphanKind =
  /** Newer than what the next owner started from. */
  | "after-base"
  /** Of a branch that a forced choice gave up. */
  | "given-up"
  /** Of a fork that nobody has decided. */
  | "conflicting"
  /** Of a major from which nothing on the lineage descends. */
  | "off-lineage";

export interface Orphan extends CheckpointRef {
  readonly hostId: string;
  readonly kind: OrphanKind;
}

export function ownersOf(chain: readonly VerifiedHeader[], orphans: readonly Orphan[]): readonly LineageOwner[] {
  const byDigest = new Map(chain.map((entry) => [entry.digest, entry]));
  const majors = [...Map.groupBy(chain, ({ ref }) => formatTerm(ref)).values()];
  return majors.flatMap((entries, index) => {
    const [first] = entries;
    const last = entries.at(-1);
    if (first === undefined || last === undefined) return [];
    const { era, major, base, origin, rolledBackFromTick } = last.header;
    const before = majors[index - 1]?.at(-1)?.ref;
    const fromHostId = base === undefined || origin === "created" ? undefined : byDigest.get(base.digest)?.signerHostId;
    return [
      {
        era,
        major,
        hostId: last.signerHostId,
        bootId: last.grant?.session.bootId,
        origin,
        afterStoreLoss: origin !== "created" && base !== undefined && base.era !== era,
        imported: first.header.genesis && readGenesis(first.header.genesis).imported,
        base: origin === "created" ? undefined : base,
        fromHostId,
        skippedMajors: before === undefined ? 0n : skippedMajors(before, last.ref),
        firstTick: origin === "created" || base === undefined ? 0n : base.tick + 1n,
        lastTickSeen: last.ref.tick,
        rolledBackFromTick,
        rollback: origin === "created" || base === undefined ? undefined : rollbackOf(last, base, orphans),
        grantedAtNs: last.grant?.issuedAtNs,
        firstWrittenAtNs: first.header.writtenAtNs,
        lastWrittenAtNs: last.header.writtenAtNs,
        receipts: sumReceipts(entries),
      },
    ];
  });
}

/** What was verified, and is not on the lineage (protocol §10). */
export function orphansOf(
  own: readonly VerifiedHeader[],
  chain: readonly VerifiedHeader[],
  forks: readonly Fork[],
): readonly Orphan[] {
  const onChain = new Set(chain);
  const newest = new Map<string, bigint>();
  for (const { ref } of chain) newest.set(formatTerm(ref), ref.tick);
  return own
    .filter((entry) => !onChain.has(entry))
    .map(({ ref, signerHostId }) => {
      const fork = forks.find((candidate) => compareTerms(candidate, ref) === 0 && candidate.tick <= ref.tick);
      return { ...ref, hostId: signerHostId, kind: kindOf(ref, newest.get(formatTerm(ref)), fork) };
    });
}

export function sumReceipts(chain: readonly VerifiedHeader[]): ReceiptTotals {
  const receipts = chain.flatMap(({ header }) => header.receipts);
  const fundings = receipts.filter(isFunding);
  return {
    count: receipts.length,
    fundings: fundings.length,
    funded: fundings.reduce((sum, { funded }) => sum + funded, 0n),
    elapsedNs: receipts.reduce((sum, { elapsedNs }) => sum + elapsedNs, 0n),
    cost: receipts.reduce((sum, { cost }) => sum + cost, 0n),
  };
}

function kindOf(ref: CheckpointRef, newestOnLineage: bigint | undefined, fork: Fork | undefined): OrphanKind {
  if (fork !== undefined) return fork.settledBy === undefined ? "conflicting" : "given-up";
  if (newestOnLineage === undefined) return "off-lineage";
  return ref.tick > newestOnLineage ? "after-base" : "given-up";
}

function rollbackOf({ header }: VerifiedHeader, base: CheckpointRef, orphans: readonly Orphan[]): Rollback | undefined {
  // An orphan of a major in between was given up by this owner; one of a later major by a later one.
  let newestHeld = base.tick;
  for (const orphan of orphans) {
    if (isBetween(orphan, base, header) && orphan.tick > newestHeld) newestHeld = orphan.tick;
  }
  const declared = header.rolledBackFromTick;
  const fromTick = declared === undefined || newestHeld > declared ? newestHeld : declared;
  if (fromTick === base.tick) return undefined;
  const held = newestHeld === fromTick;
  return { toTick: base.tick, fromTick, ticks: fromTick - base.tick, declared: declared !== undefined, held };
}

function isBetween(term: Term, from: Term, to: Term): boolean {
  return compareTerms(term, from) >= 0 && compareTerms(term, to) < 0;
}
