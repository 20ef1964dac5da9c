// What an owner knows of the copies of one agent.

import type { CheckpointRef, SignedBytes } from "@godwit/common/lease";
import type { Checkpoint } from "@godwit/lineage";

export interface Holder {
  readonly hostId: string;
  readonly checkpoint: CheckpointRef;
}

/** What is remembered of holders that were given up. */
const MAX_HOLDERS = 8;

export interface Newest {
  readonly checkpoint: Checkpoint;
  readonly ref: CheckpointRef;
  readonly receipts: readonly Uint8Array[];
}

export interface Copies {
  readonly agentId: string;
  newest: Newest;
  moduleBytes: number | undefined;
  targets: readonly string[];
  /** Newest acknowledgement last. */
  readonly held: Map<string, CheckpointRef>;
  /** Hosts with which this checkpoint is settled without being held there: they have a newer one. */
  readonly behind: Map<string, string>;
  readonly pushing: Set<string>;
  /** It no longer runs here: forgotten once it is held, or cannot be. */
  leftAtMs: number | undefined;
  /** To be told once no push is under way that could bring back what it ends. */
  termination: SignedBytes | undefined;
}

export function copiesOf(agentId: string, newest: Newest): Copies {
  return {
    agentId,
    newest,
    moduleBytes: undefined,
    targets: [],
    held: new Map(),
    behind: new Map(),
    pushing: new Set(),
    leftAtMs: undefined,
    termination: undefined,
  };
}

export function isSettled({ newest, held, behind }: Copies, hostId: string): boolean {
  const { digest } = newest.ref;
  return held.get(hostId)?.digest === digest || behind.get(hostId) === digest;
}

export function noteHeld({ held, targets }: Copies, hostId: string, ref: CheckpointRef): void {
  held.delete(hostId);
  held.set(hostId, ref);
  for (const former of held.keys()) {
    if (held.size <= MAX_HOLDERS) return;
    if (!targets.includes(former)) held.delete(former);
  }
}

export function holdersOf(copies: Copies | undefined): readonly Holder[] {
  if (copies === undefined) return [];
  return [...copies.held].map(([hostId, checkpoint]) => ({ hostId, checkpoint })).toReversed();
}
