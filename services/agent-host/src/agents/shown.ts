// What people are shown of an agent's progress. Nothing is decided from it.

import type { CheckpointRef } from "@godwit/common/lease";
import { digestOf, readHeader } from "@godwit/lineage";
import type { DataDirectory } from "../storage/index.ts";

export interface Shown {
  readonly tick: bigint;
  readonly budget: bigint;
  readonly stateBytes: bigint;
  readonly checkpoint: CheckpointRef | undefined;
}

/** The newest checkpoint that is held. `undefined` when there is none, or none that can be read: that is found where it is needed. */
export async function shownOnDisk(storage: DataDirectory, agentId: string): Promise<Shown | undefined> {
  try {
    const signed = await storage.newestHeader(agentId);
    if (signed === undefined) return undefined;
    const { era, major, tick, budget, stateBytes } = readHeader(signed.payload);
    return { tick, budget, stateBytes, checkpoint: { era, major, tick, digest: digestOf(signed.payload) } };
  } catch {
    return undefined;
  }
}
