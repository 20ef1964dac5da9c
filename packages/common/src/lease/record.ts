// The authority record of an agent (protocol §4), as every part that reads or decides knows it.
// Digests are lower-case hex; ids are as on the wire.

import type { Term } from "./epoch.ts";

/** Names one checkpoint of an agent. `digest`: SHA-256 of its header, in lower-case hex. */
export interface CheckpointRef extends Term {
  readonly tick: bigint;
  readonly digest: string;
}

/** A host process's session with the registry. A boot id is never used twice. */
export interface SessionId {
  readonly hostId: string;
  readonly bootId: string;
}

export type AuthorityState = "ACTIVE_OWNER" | "HANDOFF_INITIATED" | "HANDOFF_PENDING" | "RECOVERY_REQUIRED" | "RETIRED";

/** The first three are to be taken up by another host; the others wait to be asked. */
export type RetiredReason = "drained" | "cannot-run" | "forced" | "stopped" | "failed" | "unfunded";

/** Whether a released agent may be taken up by any holder without anybody asking (§3, §8). */
export function isToBeTakenUp(reason: RetiredReason): boolean {
  return reason === "drained" || reason === "cannot-run" || reason === "forced";
}

export type RecoveryPolicy = "latest" | "strict";

/** A major and the checkpoint that it started from. Majors in a row with the same base are one entry, the newest. */
export interface Base extends Term {
  readonly startedFrom: CheckpointRef;
}

/** Two different checkpoints of one agent with the same major and tick (EI-11). */
export interface Conflict extends Term {
  readonly tick: bigint;
  readonly known: string;
  readonly offered: string;
}

/**
 * Of a record whose predecessor the store forgot, until a base is confirmed again (GA-9): checkpoints of an era below `era`
 * and of a term above `above` count as on the lineage.
 */
export interface AfterLoss {
  /** The newest term whose base was known to be confirmed; `undefined`: nothing was known, so every one counts. */
  readonly above: Term | undefined;
  /** The mark's counter under which it was recovered. */
  readonly era: bigint;
  /** What becomes the bases under the present major's: the spine of the unconfirmed base, newest first. */
  readonly spine: readonly Base[];
}

/** Bytes that somebody signed, and the signature: a grant or a termination, which the pure code only passes on. */
export interface SignedBytes {
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

export interface AuthorityRecord extends Term {
  readonly agentId: string;
  readonly name: string;
  /** Store incarnation under which it was last written or confirmed (§9). */
  readonly incarnation: string;
  readonly revision: bigint;
  readonly state: AuthorityState;
  /** Only when RETIRED. */
  readonly reason: RetiredReason | undefined;
  /** `undefined` only after a forced recovery. */
  readonly owner: SessionId | undefined;
  /** Only in HANDOFF_*. */
  readonly handoff: { readonly id: string; readonly targetHostId: string } | undefined;
  readonly head: CheckpointRef;
  /** Newest first, at most `maxBases`. */
  readonly bases: readonly Base[];
  /** The base of the present major, until its owner confirms it. */
  readonly unconfirmed: CheckpointRef | undefined;
  readonly lastCommand: string;
  readonly conflict: Conflict | undefined;
  /**
   * The term that an operator's choice was given (`force_recover`). Of what is below it only the checkpoints that `bases`
   * name are on the lineage; everything else was given up: an orphan, never a conflict again.
   */
  readonly forced: Term | undefined;
  readonly afterLoss: AfterLoss | undefined;
  readonly declared: boolean;
  readonly terminated: SignedBytes | undefined;
  /** The registry's grant of the present major. */
  readonly grant: SignedBytes | undefined;
  readonly recoveryPolicy: RecoveryPolicy;
}

/** Protocol §11. */
export const maxBases = 64;

export function sameSession(a: SessionId | undefined, b: SessionId | undefined): boolean {
  return a !== undefined && b !== undefined && a.hostId === b.hostId && a.bootId === b.bootId;
}

export function sameCheckpoint(a: CheckpointRef, b: CheckpointRef): boolean {
  return a.era === b.era && a.major === b.major && a.tick === b.tick && a.digest === b.digest;
}

/** By (era, major), then tick: negative when `a` is older. Says nothing about lineage. */
export function compareCheckpoints(a: CheckpointRef, b: CheckpointRef): number {
  if (a.era !== b.era) return a.era < b.era ? -1 : 1;
  if (a.major !== b.major) return a.major < b.major ? -1 : 1;
  if (a.tick !== b.tick) return a.tick < b.tick ? -1 : 1;
  return 0;
}
