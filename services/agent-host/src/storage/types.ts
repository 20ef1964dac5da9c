// What the data directory keeps, and what is asked of it.

import type { CheckpointRef, SignedBytes, Term } from "@godwit/common/lease";
import type { Checkpoint } from "@godwit/lineage";
import type { JournalEntry, Phase } from "./journal.ts";
import type { ForcedChoice } from "./set-aside.ts";

export interface StorageRules {
  /** Headers off the spine that are kept for each agent. */
  readonly keepHeaders: number;
  /** Newest checkpoints of each agent whose states are kept. */
  readonly keepStates: number;
  /** Of the whole database, in bytes. Writes that need more are refused with DISK_FAILED. Absent: what the disk has. */
  readonly maxBytes?: number;
  /** Modules and manifests that are written before those that nobody needs are collected by themselves. Absent: 64 MiB. */
  readonly collectAfterBytes?: number;
}

/** What an agent is, beside its checkpoints. Digests in lower-case hex. */
export interface AgentIdentity {
  readonly name: string;
  readonly moduleDigest: string;
  readonly manifestDigest: string;
}

export interface StoredAgent extends AgentIdentity {
  readonly agentId: string;
  readonly journal: JournalEntry;
  /** The newest term that this host has signed away. It never takes up that one, or one before it. */
  readonly newestRelinquished: Term | undefined;
}

/** The package of an incoming handoff that is verified, on the disk, and not ours yet (GH-4). */
export interface StagedHandoff {
  readonly handoffId: string;
  readonly agentId: string;
  readonly agent: AgentIdentity;
  readonly sourceHostId: string;
  readonly token: SignedBytes;
  readonly header: SignedBytes;
  readonly ref: CheckpointRef;
}

export interface IncomingHandoff {
  readonly handoffId: string;
  readonly agent: AgentIdentity;
  readonly sourceHostId: string;
  readonly token: SignedBytes;
  readonly checkpoint: Checkpoint;
  /** As in `WriteUnit`. */
  readonly receipts?: readonly Uint8Array[];
  /** As in `WriteUnit`. */
  readonly spine?: readonly SignedBytes[];
}

/**
 * One atomic, durable change of what is kept of one agent. Its parts are done in the order in which they stand here. The
 * bytes in it must not change until `commit` has answered.
 */
export interface WriteUnit {
  readonly agentId: string;
  /** The agent's phases on the disk in which this may be written; `none` for an agent that is new here. Absent: any. */
  readonly onlyIn?: readonly (Phase | "none")[];
  /**
   * An operator's choice (`force_recover`): what it gives up, as far as it is held, is set aside, and no part of this unit
   * or of a later one takes it for a checkpoint again, unless a later choice is for it.
   */
  readonly setAside?: ForcedChoice;
  readonly stage?: IncomingHandoff;
  /** Id of a staged handoff whose checkpoint, spine and receipts become committed ones. */
  readonly promoteStaging?: string;
  /** Needed, with `journal`, for an agent that is new here; a promoted handoff brings it along. */
  readonly agent?: AgentIdentity;
  readonly journal?: JournalEntry;
  /** Headers to keep for ever. */
  readonly spine?: readonly SignedBytes[];
  readonly checkpoint?: Checkpoint;
  /** The agent's wallet as of `checkpoint`, oldest first; kept as long as its state. */
  readonly receipts?: readonly Uint8Array[];
  /**
   * An agent stands still until this is written (§6), and to forget a large state takes as long as to write one: what this
   * makes superfluous is forgotten with the next unit of the agent that does not say so.
   */
  readonly pruneLater?: boolean;
  /** Nobody stands still until this is written: it may wait a moment for units of others (group-commit.ts). */
  readonly canWait?: boolean;
  /** Nothing happens when it is not there. An agent in phase `replica` of which nothing is left then is gone. */
  readonly dropStaging?: string;
}
