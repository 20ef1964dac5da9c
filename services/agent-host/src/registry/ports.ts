// What the rest of the host needs of the registry. The gRPC adapters beside this file implement it; the simulator and
// the tests bring their own.

import type {
  AuthorityRecord,
  Base,
  CheckpointRef,
  Conflict,
  LeaseRules,
  RefusalCode,
  RetiredReason,
  SessionId,
  SessionLease,
  SignedBytes,
  StoreMark,
  Term,
} from "@godwit/common/lease";

/** A session that the registry has opened for this process. */
export interface HeldSession {
  readonly id: SessionId;
  readonly secret: Uint8Array;
  readonly incarnation: string;
  /** The mark's counter: the era of what is acquired under it. */
  readonly counter: bigint;
}

/** The answer to an authority command. `unknown`: it may have been done, or may still be (FS-2). */
export type Answer =
  | { readonly kind: "applied"; readonly record: AuthorityRecord }
  | { readonly kind: "refused"; readonly code: RefusalCode; readonly record: AuthorityRecord | undefined }
  | { readonly kind: "unknown"; readonly cause: unknown };

/** One agent's authority as the registry has it now. */
export type Reading =
  | { readonly kind: "record"; readonly record: AuthorityRecord; readonly ownerVoid: boolean }
  | { readonly kind: "no-record" }
  | { readonly kind: "unreachable"; readonly cause: unknown };

export interface CommandOn {
  readonly commandId: string;
  readonly agentId: string;
  readonly revision: bigint;
}

/** The commands of protocol §4. Each call has its own deadline; none is sent twice by itself. */
export interface Authority {
  acquire(session: HeldSession, command: Omit<CommandOn, "revision">, head: SignedBytes): Promise<Answer>;
  beginHandoff(
    session: HeldSession,
    command: CommandOn,
    handoff: { readonly handoffId: string; readonly targetHostId: string; readonly head: SignedBytes },
  ): Promise<Answer>;
  revertHandoff(session: HeldSession, command: CommandOn): Promise<Answer>;
  claim(session: HeldSession, command: Omit<CommandOn, "revision">, token: SignedBytes): Promise<Answer>;
  /** `spine`: the headers under the head, base by base down to tick 0; needed only after a loss of the store (GA-9). */
  recover(session: HeldSession, command: CommandOn, head: SignedBytes, spine?: readonly SignedBytes[]): Promise<Answer>;
  declareRecovery(session: HeldSession, command: CommandOn, reason: string): Promise<Answer>;
  release(
    session: HeldSession,
    command: CommandOn,
    released: { readonly reason: RetiredReason; readonly head: SignedBytes | undefined },
  ): Promise<Answer>;
  terminate(session: HeldSession, command: CommandOn): Promise<Answer>;
  reportHeads(session: HeldSession, reports: readonly HeadReport[]): Promise<readonly Answer[]>;
  announce(session: HeldSession, announcement: Announcement): Promise<void>;
  read(agentId: string): Promise<Reading>;
  /** Records of agents that this session may recover (§8), until the signal aborts or the stream breaks. */
  offers(session: HeldSession, signal: AbortSignal): AsyncIterable<AuthorityRecord>;
}

export interface HeadReport {
  readonly commandId: string;
  readonly agentId: string;
  readonly era: bigint;
  readonly major: bigint;
  readonly ref: CheckpointRef;
  readonly head: SignedBytes;
}

export interface Announcement {
  readonly held: readonly SignedBytes[];
  readonly withdrawn: readonly string[];
  /** The newest mark that this host has seen (GA-6). */
  readonly markSeen?: SignedBytes | undefined;
}

/** What the session keeper asks of the registry. Marks are as they came: the keeper verifies them. */
export interface Sessions {
  describe(signal: AbortSignal): Promise<RegistryDescription>;
  open(opening: SignedBytes, signal: AbortSignal): Promise<OpenedSession>;
  renew(session: HeldSession, named: RenewalClaim, signal: AbortSignal): Promise<Renewal>;
  /** GA-7: one batch, under the host's signature. */
  reassert(reassertion: SignedBytes, items: Uint8Array, signal: AbortSignal): Promise<Reasserted>;
  /** SL-6; with an earlier boot id that session of this host is closed instead (GA-5). */
  close(session: HeldSession, earlierBootId: string | undefined, signal: AbortSignal): Promise<void>;
}

export interface RenewalClaim {
  /** The one that was answered last. */
  readonly generation: bigint;
  readonly markSeen: SignedBytes | undefined;
}

export interface RegistryDescription {
  readonly publicKey: Uint8Array;
  readonly mark: SignedBytes;
  readonly rules: LeaseRules;
}

export interface OpenedSession {
  readonly secret: Uint8Array;
  readonly generation: bigint;
  readonly rules: LeaseRules;
  readonly mark: SignedBytes;
}

export interface Renewal {
  readonly generation: bigint;
  readonly rules: LeaseRules;
  readonly mark: SignedBytes;
}

export interface Reasserted extends OpenedSession {
  /** One for each item, in order. */
  readonly results: readonly Answer[];
}

/** What a host signs when it brings its session over. */
export interface ReassertionClaim {
  readonly session: SessionId;
  /** The new incarnation, and the very one from which the session comes. */
  readonly incarnation: string;
  readonly from: string;
  readonly generation: bigint;
  readonly markSeen: SignedBytes | undefined;
  readonly items: Uint8Array;
}

/** One thing that a host brings back (GA-7). */
export type ShownItem =
  | {
      readonly kind: "grant";
      readonly agentId: string;
      /** Its digest is the agent's id. */
      readonly genesis: Uint8Array;
      readonly grant: SignedBytes;
      readonly head: CheckpointRef;
      /** As it was answered last: bases, unconfirmed base, and what else is known of the lineage. */
      readonly record: Pick<AuthorityRecord, "unconfirmed" | "forced" | "afterLoss" | "revision"> & {
        readonly bases: readonly Base[];
      };
    }
  | { readonly kind: "conflict"; readonly agentId: string; readonly term: Term; readonly conflict: Conflict }
  | { readonly kind: "termination"; readonly agentId: string; readonly termination: SignedBytes };

/** Of one agent, what may have to be brought back. */
export interface Carried {
  /** Asked just before it is sent; `undefined`: nothing may be shown (GA-8). */
  item(to: string): ShownItem | undefined;
  /** What the registry said of it; `undefined`: nothing was shown, or no answer will come. Must not throw. */
  answered(session: HeldSession, answer: Answer | undefined): void;
}

/** What a mark says, once its signature was checked. */
export type VerifiedMark = StoreMark & { readonly signed: SignedBytes };

/** The right to tick, as far as the session gives it. What supervisors ask. */
export interface SessionView {
  /** The session that is open now; `undefined` while there is none. */
  readonly current: HeldSession | undefined;
  readonly lease: SessionLease;
  /** Renewals of the current session: what checkpoints carry as generation. */
  readonly generation: bigint;
  /** The registry's Ed25519 key: pinned at the first session of this data directory. */
  readonly registryKey: Uint8Array | undefined;
  /** The newest mark of the registry's store that this host has seen, in whatever process; unset: it has seen none. */
  readonly newestMark?: SignedBytes | undefined;
}
