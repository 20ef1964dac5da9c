// What source and target say to each other on /godwit/migrate/1. Digests are lower-case hex, sizes are bytes.

import type { SignedBytes, Term } from "@godwit/common/lease";
import type { Failure } from "@godwit/common/retry";

export interface OfferFrame extends Term {
  readonly kind: "offer";
  readonly handoffId: string;
  readonly agentId: string;
  readonly name: string;
  /** Tick, state and budget are as they are now; the final ones may differ. */
  readonly tick: bigint;
  readonly stateBytes: number;
  readonly budget: bigint;
  readonly manifest: Uint8Array;
  readonly moduleDigest: string;
  readonly moduleBytes: number;
}

export interface ChunkFrame<Kind extends "module" | "state" | "replay" = "module" | "state" | "replay"> {
  readonly kind: Kind;
  readonly offset: number;
  readonly data: Uint8Array;
}

/** From the base of the present major back to tick 0, newest first, over as many frames as it takes. */
export interface SpineFrame {
  readonly kind: "spine";
  readonly headers: readonly SignedBytes[];
  readonly last: boolean;
  /** Encoded, newest last; what the agent can read by now. Only with the last. */
  readonly receipts: readonly Uint8Array[];
}

/** Ends an encoded Replay (replay.ts), which came in chunks. */
export interface ReplayEndFrame {
  readonly kind: "replay-end";
  readonly bytes: number;
  readonly digest: string;
}

/** What the agent was frozen as. A copy of it gives no right to tick (EI-4): the token does. */
export interface CheckpointFrame {
  readonly kind: "checkpoint";
  readonly handoffId: string;
  readonly checkpoint: SignedBytes;
  /** Encoded, newest last: those that came since the spine was sent. */
  readonly receipts: readonly Uint8Array[];
  /** How many of those that went with the spine, counted from the newest, come before them. */
  readonly receiptsKept: number;
  /** The whole state if it fits into one chunk, else nothing of it: it follows in chunks. */
  readonly state: Uint8Array;
}

export interface HandoffFrame {
  readonly kind: "handoff";
  readonly handoffId: string;
  readonly token: SignedBytes;
}

/** A cut stream can look complete: only this ends a handoff. */
export interface HandoffEndFrame {
  readonly kind: "handoff-end";
  readonly stateBytes: number;
  readonly stateDigest: string;
}

export type SourceFrame =
  | OfferFrame
  | ChunkFrame
  | ReplayEndFrame
  | SpineFrame
  | CheckpointFrame
  | HandoffFrame
  | HandoffEndFrame;

export type TargetFrame =
  | {
      readonly kind: "accept";
      readonly handoffId: string;
      readonly needModule: boolean;
      /** Microcents. */
      readonly pricePerSecond: bigint;
      /** Digest of the newest header of the spine that the target has, and with it all below. */
      readonly spineKnown: string | undefined;
    }
  | { readonly kind: "prepared"; readonly handoffId: string }
  | ({
      readonly kind: "started";
      readonly handoffId: string;
      readonly agentId: string;
      readonly checkpointDigest: string;
    } & Term)
  /** Never `ambiguous`. */
  | { readonly kind: "refused"; readonly handoffId: string; readonly failure: Failure };

export type MigrationFrameKind = SourceFrame["kind"] | TargetFrame["kind"];
