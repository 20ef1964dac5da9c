// How a running agent's state becomes a checkpoint of its lineage (architecture.md, "A checkpoint").
//
// EI-3  Each names the one before it, so that they form one chain.
// §11   It names the newest fundings, so that none is applied twice.
// §2    A host makes at most one checkpoint for a major and tick: what exists for a tick is used again.

import { type Checkpoint, fundingIdsAfter, type Receipt, type Signer, writeCheckpoint } from "@godwit/lineage";
import type { Ground } from "./tenancy.ts";

export interface CheckpointContent {
  readonly agentId: string;
  readonly moduleDigest: string;
  readonly manifestDigest: string;
  readonly tick: bigint;
  readonly state: Uint8Array;
  readonly budget: bigint;
  readonly remainder: bigint;
  readonly pricePerSecond: bigint;
  readonly receipts: readonly Receipt[];
  readonly generation: bigint;
  readonly writtenAt: Date;
  readonly eventsDigest: string;
}

/** The checkpoint after `previous` on this ground. */
export function nextCheckpoint(
  { state, writtenAt, ...content }: CheckpointContent,
  { previous, ground, signer }: { readonly previous: Checkpoint; readonly ground: Ground; readonly signer: Signer },
): Checkpoint {
  const { grant, era, major, base, origin, rolledBackFromTick } = ground;
  return writeCheckpoint(
    {
      ...content,
      era,
      major,
      grant,
      base,
      origin,
      rolledBackFromTick,
      previous: previous.digest,
      fundingIds: fundingIdsAfter(previous.header.fundingIds, content.receipts),
      genesis: undefined,
      writtenAtNs: BigInt(writtenAt.getTime()) * 1_000_000n,
    },
    state,
    signer,
  );
}
