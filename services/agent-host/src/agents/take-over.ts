// An agent of the seed system that goes on here: everything of it is checked before anything is written or run.
//
// T-33  What is damaged, of another module, signed by somebody else, or in debt without another budget is refused, and nothing begins
//       from zero in its place.
// T-35  The digest of the whole file is what the agent's first checkpoint here goes on from.

import { Fault } from "@godwit/common/fault";
import { digestOf, type Imported } from "@godwit/lineage";
import { checkSeedReceipts, decodeSeedCheckpoint, holdsSeedSignature, type SeedCheckpoint } from "@godwit/lineage/seed";

/** Files of the seed system, whole. */
export interface SeedFiles {
  readonly checkpoint: Uint8Array;
  /** `undefined`: none came. */
  readonly receipts: Uint8Array | undefined;
}

export interface TakenOver {
  readonly imported: Imported;
  /** What the agent resumes from, and what its tick 0 has. */
  readonly state: Uint8Array;
}

/** How many receipts are verified before other agents get a turn: a few milliseconds. */
const VERIFIED_IN_A_ROW = 32;

/**
 * Throws Fault CHECKPOINT_INVALID, SIGNATURE_INVALID for files that nothing goes on from; the signal's reason. `budget`: what the
 * agent gets; only where that is something does a debt in the file not matter.
 */
export async function takeOver(
  { checkpoint: file, receipts }: SeedFiles,
  { moduleDigest, budget }: { readonly moduleDigest: string; readonly budget: bigint },
  signal: AbortSignal,
): Promise<TakenOver> {
  const checkpoint = decodeSeedCheckpoint(file, { negativeBudget: budget > 0n ? "kept" : "refused" });
  const { custody, digest, format, tick, state } = checkpoint;
  if (checkpoint.moduleDigest !== moduleDigest) {
    const reason = `it is the checkpoint of another module: it names ${checkpoint.moduleDigest}, this one is ${moduleDigest}`;
    throw new Fault({ code: "CHECKPOINT_INVALID", reason });
  }
  if (custody !== undefined && !holdsSeedSignature(file, custody)) {
    throw new Fault({ code: "SIGNATURE_INVALID", what: "the checkpoint" });
  }
  if (receipts !== undefined) await verifyReceipts(receipts, checkpoint, signal);
  const imported = {
    digest,
    format,
    tick,
    budget: checkpoint.budget < 0n ? 0n : checkpoint.budget,
    publicKey: custody?.publicKey,
    receiptsDigest: receipts && digestOf(receipts),
  };
  return { imported, state };
}

async function verifyReceipts(receipts: Uint8Array, checkpoint: SeedCheckpoint, signal: AbortSignal): Promise<void> {
  let verified = 0;
  for (const _receipt of checkSeedReceipts(receipts, checkpoint)) {
    verified += 1;
    if (verified % VERIFIED_IN_A_ROW !== 0) continue;
    await nextTurn();
    signal.throwIfAborted();
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
