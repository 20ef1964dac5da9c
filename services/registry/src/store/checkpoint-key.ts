// A checkpoint as text that sorts as checkpoints do: by era, major, tick. Stores compare announcements by it.

import type { CheckpointRef } from "@godwit/common/lease";

const DIGITS = 20; // of the largest 64-bit number

export function checkpointKey({ era, major, tick, digest }: CheckpointRef): string {
  return [...[era, major, tick].map((part) => part.toString().padStart(DIGITS, "0")), digest].join(".");
}

/** Of what `checkpointKey` made; anything else in a store is damage. */
export function readCheckpointKey(key: string): CheckpointRef {
  const [era, major, tick, digest] = key.split(".");
  if (era === undefined || major === undefined || tick === undefined || digest === undefined) {
    throw new Error(`the store holds ${JSON.stringify(key)} where it should name a checkpoint`);
  }
  return { era: BigInt(era), major: BigInt(major), tick: BigInt(tick), digest };
}
