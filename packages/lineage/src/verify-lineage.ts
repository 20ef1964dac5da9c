// All headers of an agent that somebody holds, in any order: what they prove, and what is wrong with them.
//
// The lineage is what the newest checkpoint of the highest (era, major) descends from, base by base (protocol §10). What
// was verified but is not on it is an orphan, which is no problem by itself: a host that died left it. Missing headers
// between two bases are none either: hosts keep them only for a while. The spine has to be whole.

import { isFault } from "@godwit/common/fault";
import { type CheckpointRef, compareCheckpoints, formatTerm, type SignedBytes } from "@godwit/common/lease";
import { type LineageOwner, type Orphan, orphansOf, ownersOf, type ReceiptTotals, sumReceipts } from "./account.ts";
import { chainProblems, forkProblems, type LineageProblem, termProblems } from "./chain.ts";
import { type IdentifiedGenesis, readGenesis } from "./genesis.ts";
import { type Fork, findForks, withoutGivenUp } from "./settled.ts";
import { type VerifiedHeader, verifyHeader } from "./verify-header.ts";
import { describeRef, linkProblem } from "./verify-spine.ts";

/**
 * `valid-with-remarks`: nothing is wrong with the lineage, but ticks were given up on the way, a store was lost, a fork
 * was settled by force, or orphans are shown.
 */
export type LineageVerdict = "valid" | "valid-with-remarks" | "broken";

export interface LineageReport {
  /** `undefined` when not one header verifies. */
  readonly agentId: string | undefined;
  /** No problems. */
  readonly ok: boolean;
  readonly verdict: LineageVerdict;
  /** Oldest first. */
  readonly owners: readonly LineageOwner[];
  /** How many checkpoints on the lineage were verified. */
  readonly checkpoints: number;
  /** Between how many of them headers are missing. */
  readonly gaps: number;
  readonly orphans: readonly Orphan[];
  /** Ticks of which two checkpoints are held; those that are not settled are problems as well. */
  readonly forks: readonly Fork[];
  readonly problems: readonly LineageProblem[];
  readonly receipts: ReceiptTotals;
  readonly head: CheckpointRef | undefined;
  /** `undefined` when the checkpoint of tick 0 is not held. */
  readonly genesis: IdentifiedGenesis | undefined;
}

/** Never throws for what the headers say: whatever is wrong with them is a problem in the report. */
export function verifyLineage(headers: readonly SignedBytes[], registryPublicKey: Uint8Array): LineageReport {
  const problems: LineageProblem[] = [];
  const held = verifyEach(headers, registryPublicKey, problems);
  const agentId = mostNamedAgent(held);
  const own = held.filter(({ header }) => header.agentId === agentId);
  if (agentId === undefined) problems.push({ kind: "empty", detail: "there is no header that verifies" });
  if (own.length < held.length) {
    problems.push({ kind: "foreign", detail: `${held.length - own.length} headers are of other agents` });
  }

  const walked = walk(own);
  const { spine, broken } = walked;
  const forks = findForks(own, walked.chain);
  const settled = settledMajors(forks);
  const chain = withoutGivenUp(walked.chain, spine, settled);
  if (broken !== undefined) problems.push({ kind: "broken-spine", detail: broken });
  const { gaps, problems: links } = chainProblems(chain, own);
  problems.push(...forkProblems(own, settled), ...termProblems(own, settled), ...links);

  const first = chain[0]?.header.genesis;
  const orphans = orphansOf(own, chain, forks);
  const owners = ownersOf(chain, orphans);
  const remarkable =
    orphans.length > 0 || forks.length > 0 || owners.some(({ rollback, afterStoreLoss }) => afterStoreLoss || rollback);
  return {
    agentId,
    ok: problems.length === 0,
    verdict: problems.length > 0 ? "broken" : remarkable ? "valid-with-remarks" : "valid",
    owners,
    checkpoints: chain.length,
    gaps,
    orphans,
    forks,
    problems,
    receipts: sumReceipts(chain),
    head: spine[0]?.ref,
    genesis: first && readGenesis(first),
  };
}

/** Majors in which every fork was left behind by a forced choice. */
function settledMajors(forks: readonly Fork[]): ReadonlySet<string> {
  const settled = forks.filter(({ settledBy }) => settledBy !== undefined);
  return new Set(settled.map((fork) => formatTerm(fork)));
}

/** Those that verify by themselves, oldest first, each once. */
function verifyEach(
  headers: readonly SignedBytes[],
  registryPublicKey: Uint8Array,
  problems: LineageProblem[],
): readonly VerifiedHeader[] {
  const held = new Map<string, VerifiedHeader>();
  for (const signed of headers) {
    try {
      const verified = verifyHeader(signed, registryPublicKey);
      held.set(verified.digest, verified);
    } catch (error) {
      if (!isFault(error)) throw error;
      problems.push({ kind: "invalid", detail: error.message });
    }
  }
  return [...held.values()].sort(
    (a, b) => compareCheckpoints(a.ref, b.ref) || (a.digest < b.digest ? -1 : 1), // the same report for any order
  );
}

function mostNamedAgent(held: readonly VerifiedHeader[]): string | undefined {
  const counts = new Map<string, number>();
  for (const { header } of held) counts.set(header.agentId, (counts.get(header.agentId) ?? 0) + 1);
  return [...counts].sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1))[0]?.[0];
}

interface Walk {
  /** On the lineage, oldest first. */
  readonly chain: readonly VerifiedHeader[];
  /** The head and its bases, newest first. */
  readonly spine: readonly VerifiedHeader[];
  /** Why the walk did not reach tick 0. */
  readonly broken: string | undefined;
}

/** From the head to genesis, base by base; with each, what of its major is not above it. */
function walk(own: readonly VerifiedHeader[]): Walk {
  const byDigest = new Map(own.map((entry) => [entry.digest, entry]));
  const byTerm = Map.groupBy(own, ({ ref }) => formatTerm(ref));
  const spine: VerifiedHeader[] = [];
  const chain = new Set<VerifiedHeader>();
  let broken: string | undefined;
  // Tick 0 says itself in which era it was made: only what carries a grant tells which major is the highest.
  let at = own.findLast(({ grant }) => grant !== undefined) ?? own.at(-1);
  while (at !== undefined) {
    const { header, ref } = at;
    spine.push(at);
    for (const entry of byTerm.get(formatTerm(ref)) ?? []) if (entry.ref.tick <= ref.tick) chain.add(entry);
    if (header.base === undefined) break;
    const below = byDigest.get(header.base.digest);
    broken = below === undefined ? `${describeRef(header.base)} is not held` : linkProblem(header, header.base, below);
    at = broken === undefined ? below : undefined;
  }
  return { chain: [...chain].sort((a, b) => compareCheckpoints(a.ref, b.ref)), spine, broken };
}
