// What moving an agent needs of the rest of the host. The supervisor side and the directory implement these; the tests of
// this folder bring their own.

import type { AuthorityRecord, SessionId, SignedBytes, Term } from "@godwit/common/lease";
import type { Checkpoint } from "@godwit/lineage";
import type {
  Candidate,
  ClaimAnswer,
  OfferFrame,
  OwnerAnswer,
  Price,
  ReplayRecord,
  Resolution,
} from "@godwit/migration";
import type { ReplayedTicks, ReplayResult } from "@godwit/sandbox";
import type { VerifiedHandoff } from "./verify-handoff.ts";

/** What a migration may know of an agent before it touches it. */
export interface AgentDescription extends Term {
  readonly name: string;
  readonly tick: bigint;
  readonly manifest: Uint8Array;
  readonly moduleDigest: string;
  readonly moduleBytes: number;
  readonly stateBytes: number;
  /** Microcents. */
  readonly budget: bigint;
}

export interface Frozen {
  readonly checkpoint: Checkpoint;
  /** What the agent can read of its receipts, encoded, newest last. */
  readonly receipts: readonly Uint8Array[];
  /** On the host's monotonic clock: after the last tick had ended, when the next could have begun. */
  readonly stoppedAtMs: number;
  /** The ticks since `replayRecord`. */
  readonly replayTail: ReplayRecord;
}

export interface HandoffName {
  readonly handoffId: string;
  readonly targetHostId: string;
}

/** The supervisor of one agent, as its migration sees it. */
export interface SourceAgent {
  readonly agentId: string;
  /** Throws Fault unless the agent is this host's and may be handed over now. */
  describe(): AgentDescription;
  /** JSON, as it was given; it never changes. */
  manifest(): Uint8Array;
  module(): Promise<Uint8Array>;
  /** From the base of the present major to tick 0, newest first. */
  spine(): Promise<readonly SignedBytes[]>;
  /** Its last ticks up to a checkpoint that is made for it. Throws Fault when the agent may not tick here now. */
  replayRecord(): Promise<ReplayRecord>;
  /** What the agent can read of its receipts by now, encoded, newest last. */
  receipts(): readonly Uint8Array[];
  /** Finishes the tick under way and commits the final checkpoint. Throws Fault, and is then not frozen. */
  freeze(handoffId: string, signal: AbortSignal): Promise<Frozen>;
  begin(handoff: HandoffName): Promise<OwnerAnswer>;
  /** The token; journaled and on the disk before this resolves. */
  relinquish(handoff: HandoffName): Promise<SignedBytes>;
  /** `revert_handoff`, asked of the registry. The caller thaws. */
  revert(): Promise<OwnerAnswer>;
  /** Ticks again, as far as its tenure lets it. Does nothing to an agent that is not frozen. */
  thaw(): void;
  /** GH-3: RECOVERY_REQUIRED, until the registry has said whose the agent is. As long as it takes. */
  resolve(signal: AbortSignal): Promise<Resolution>;
  /** A tombstone; the local copy stays as a replica. */
  retire(to: { readonly ownerHostId: string } & Term): Promise<void>;
}

/** What this host is for agents that want to come in. */
export interface HostFacts {
  readonly hostId: string;
  /** Microcents. */
  readonly pricePerSecond: bigint;
  readonly capabilities: readonly string[];
  readonly maxMemoryBytes: number;
  readonly maxModuleBytes: number;
  readonly maxStateBytes: number;
  /** No session with the registry, draining, stopping: why nothing is taken in now. */
  readonly notNow: "no-session" | "draining" | "stopping" | undefined;
  /** T-45: nothing comes in whose last ticks cannot be run again here, with the same outcome. */
  readonly verifiesReplays: boolean;
  /** What grants are verified with; undefined until the first session. */
  readonly registryKey: Uint8Array | undefined;
}

export interface TargetHost {
  facts(): HostFacts;
  /**
   * An offer that fits what this host is. Throws Fault for an agent that runs here, is coming in already, or of which a
   * newer checkpoint is held. ClassifiedFault keeps its class; any other Fault is fatal for this target.
   */
  admit(offer: OfferFrame, sourceHostId: string, signal: AbortSignal): Promise<IncomingAgent>;
}

/** One agent that may come in. Calls come one at a time, in this order (`expect` may be left out), up to a `drop`, a `start` or an `abandon`. */
export interface IncomingAgent {
  readonly needModule: boolean;
  /** The spine that this host holds of the agent, newest first down to tick 0, so that only the rest travels. */
  readonly spineKnown: readonly SignedBytes[];
  /** Compiles, and keeps the module durably. Changes nothing else. `module`: only when it was needed. */
  prepare(module: Uint8Array | undefined, signal: AbortSignal): Promise<void>;
  /** Runs ticks again, from a state; once it was prepared. Changes nothing. */
  replay(work: ReplayedTicks, signal: AbortSignal): Promise<ReplayResult>;
  /**
   * What the agent was frozen as, verified; the token that hands it over is not here, and may never come. What takes time
   * begins now. Nothing ticks (EI-4), and nothing is written but a state that nothing names, which `ended` takes back (GH-4).
   */
  expect(checkpoint: Checkpoint): void;
  /**
   * GH-4: to the staging area, durable, with the note "claiming" in the journal. The bytes do not change any more.
   * Throws Fault, and nothing is left, when the agent runs here or something newer is held by now.
   */
  stage(handoff: VerifiedHandoff): Promise<void>;
  /** Takes back what `stage` did, before any claim. */
  drop(): Promise<void>;
  /** Sends the claim; the same command again as long as the session is the same. Has a deadline of its own. */
  claim(): Promise<ClaimResult>;
  /** Resumes and ticks. The claim is in the record. Throws Fault when it cannot; the agent stays this host's (FS-1). */
  start(record: AuthorityRecord): Promise<void>;
  /** What was staged becomes a replica (GH-4). */
  abandon(): Promise<void>;
  /** Called once, whatever happened, when the handoff has ended; what was staged and not settled is recovery's (GA-5). */
  ended(): void;
}

export type ClaimResult =
  | { readonly kind: "granted"; readonly record: AuthorityRecord }
  /** `session`: the one under which it was sent. `record`: undefined when there is none. */
  | { readonly kind: "refused"; readonly record: AuthorityRecord | undefined; readonly session: SessionId }
  | { readonly kind: Extract<ClaimAnswer, { kind: "unknown" }>["kind"] };

export interface CandidateQuery {
  readonly maxPricePerSecond: bigint | undefined;
  readonly requiredCapabilities: readonly string[];
  readonly excludedHostIds: readonly string[];
  readonly limit: number;
}

export interface MigrationDirectory {
  /** GH-7, in order. Throws Fault when the registry does not answer. */
  candidates(query: CandidateQuery, signal: AbortSignal): Promise<readonly Candidate[]>;
  /** Asks the hosts themselves; those that do not answer in time are missing. */
  scanPrices(hostIds: readonly string[], signal: AbortSignal): Promise<readonly Price[]>;
  /** Multiaddrs without the peer id. Throws Fault HOST_UNKNOWN, or what says that the registry does not answer. */
  addressesOf(hostId: string, signal: AbortSignal): Promise<readonly string[]>;
  reportOutcome(hostId: string, outcome: "success" | "failure"): void;
}
