// What the rest of the host needs of the registry. The gRPC adapters beside this file implement it; the simulator and
// the tests bring their own.

import type {
  AuthorityRecord,
  CheckpointRef,
  LeaseRules,
  RefusalCode,
  RetiredReason,
  SessionId,
  SessionLease,
  SignedBytes,
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
  recover(session: HeldSession, command: CommandOn, head: SignedBytes): Promise<Answer>;
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
}

/** What the session keeper asks of the registry. */
export interface Sessions {
  describe(signal: AbortSignal): Promise<RegistryDescription>;
  open(opening: SignedBytes, signal: AbortSignal): Promise<OpenedSession>;
  renew(session: HeldSession, generation: bigint, signal: AbortSignal): Promise<Renewal>;
  /** SL-6; with an earlier boot id that session of this host is closed instead (GA-5). */
  close(session: HeldSession, earlierBootId: string | undefined, signal: AbortSignal): Promise<void>;
}

export interface RegistryDescription {
  readonly publicKey: Uint8Array;
  readonly mark: SignedBytes;
  readonly incarnation: string;
  readonly counter: bigint;
  readonly rules: LeaseRules;
}

export interface OpenedSession {
  readonly secret: Uint8Array;
  readonly generation: bigint;
  readonly rules: LeaseRules;
}

export interface Renewal {
  readonly generation: bigint;
  readonly rules: LeaseRules;
  readonly incarnation: string;
}

/** The right to tick, as far as the session gives it. What supervisors ask. */
export interface SessionView {
  /** The session that is open now; `undefined` while there is none. */
  readonly current: HeldSession | undefined;
  readonly lease: SessionLease;
  /** Renewals of the current session: what checkpoints carry as generation. */
  readonly generation: bigint;
  /** The registry's Ed25519 key: pinned at the first session of this data directory. */
  readonly registryKey: Uint8Array | undefined;
}
