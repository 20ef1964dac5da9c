// What a host notes about its part in an agent's life, before it acts on it. One entry per agent, replaced as a whole.
//
// GA-5   Every entry of an owner names the session (boot id) under which it was written.
// GH-1   `relinquished` is on disk before the token leaves the host; after it the agent never ticks here under that major.
// GH-5   `claiming` is on disk before the claim is sent, so a crash in between asks the registry instead of guessing.

import type { CheckpointRef, SignedBytes, Term } from "@godwit/common/lease";

export type JournalEntry =
  /** Tick 0 is on disk; `acquire` may have been sent. */
  | { readonly phase: "acquiring"; readonly commandId: string; readonly bootId: string }
  | OwnerEntry
  /** Frozen; `begin_handoff` may have been sent. */
  | BegunEntry
  /** The token is signed. For good. */
  | RelinquishedEntry
  /** The package is staged; `claim` may have been sent. */
  | ClaimingEntry
  /** `recover` may have been sent. */
  | RecoveringEntry
  /** A command after which nothing is reasserted or ticked (GA-8) may have been sent. */
  | GivingUpEntry
  /** Held, not owned. */
  | { readonly phase: "replica" }
  | RetiredEntry
  | { readonly phase: "terminated"; readonly termination: SignedBytes };

export interface OwnerEntry extends Term {
  readonly phase: "owner";
  readonly bootId: string;
  readonly grant: SignedBytes;
  /** Until the registry has it confirmed with `report_head`. */
  readonly unconfirmedBase?: CheckpointRef;
}

export interface BegunEntry extends Term {
  readonly phase: "begun";
  readonly bootId: string;
  readonly grant: SignedBytes;
  readonly handoffId: string;
  readonly targetHostId: string;
  readonly commandId: string;
}

export interface RelinquishedEntry extends Term {
  readonly phase: "relinquished";
  readonly bootId: string;
  readonly handoffId: string;
  readonly targetHostId: string;
  readonly token: SignedBytes;
  readonly checkpointDigest: string;
  readonly tick: bigint;
}

export interface ClaimingEntry extends Term {
  readonly phase: "claiming";
  readonly bootId: string;
  readonly commandId: string;
  readonly handoffId: string;
  readonly sourceHostId: string;
  /** `era` and `major` are the token's. */
  readonly token: SignedBytes;
  readonly checkpointDigest: string;
}

export interface RecoveringEntry {
  readonly phase: "recovering";
  readonly bootId: string;
  readonly commandId: string;
  readonly base: CheckpointRef;
  /** The record's term on which it was sent; absent where there was no record. */
  readonly on?: Term;
  /** The term that this host had relinquished, when that is what it recovers from. */
  readonly relinquished?: Term;
}

export interface GivingUpEntry extends Term {
  readonly phase: "giving-up";
  readonly bootId: string;
  readonly command: "release" | "declare_recovery" | "terminate";
  readonly reason?: string;
  readonly commandId: string;
  readonly grant: SignedBytes;
}

/** A tombstone: the agent was here and has gone on, or waits to be asked. */
export interface RetiredEntry extends Term {
  readonly phase: "retired";
  readonly why: string;
  readonly targetHostId?: string;
}

export type Phase = JournalEntry["phase"];

/** The checkpoint that the entry needs to be settled: its state is never pruned. */
export function checkpointNamedBy(entry: JournalEntry): string | undefined {
  switch (entry.phase) {
    case "relinquished":
    case "claiming":
      return entry.checkpointDigest;
    case "recovering":
      return entry.base.digest;
    case "owner":
      return entry.unconfirmedBase?.digest;
    default:
      return undefined;
  }
}
