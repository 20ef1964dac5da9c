// What the registry needs of a store; the embedded one and Redis implement it and pass one contract suite.
//
// GA-6  Every method but those of `MarkStore` is given the mark under which its caller decided. It compares that with the
//       stored one in the same atomic step (a read: in the same round trip) and throws MarkMismatch, doing nothing, when they
//       differ, or when the store that is really there is not the one for which the mark was written. What a quarantine lets
//       through stands in admission.ts. The mark itself is changed only by compare-and-set.
// §4    `apply` is the only way to change an authority record: compare-and-set on the whole record, together with the
//       caller's session not being closed. A record is its bytes here; nobody encodes it again to compare it.
// SL-2  A closed session stays closed and stays known. A session is *open* here when it is not closed and the incarnation of
//       the stored mark knows it; with a new incarnation no session is open until it is opened or reasserted.
//
// A method that cannot reach the store, or gets no answer in time, throws Fault STORE_UNAVAILABLE: the outcome of a write
// is unknown then. Every call is bounded by the store's own time-out, so none takes a signal.

import type { CheckpointRef, LeaseRules, SessionId, SessionSighting } from "@godwit/common/lease";
import type { Placement } from "./placement.ts";

/** The stored mark is not the one that was named: gone, of another incarnation, state or key, or on another store. */
export class MarkMismatch extends Error {
  override readonly name: string = "MarkMismatch";
}

/** The mark that was named does not let this step through: in quarantine, or (what is reasserted) out of it. Nothing was done. */
export class StepRefused extends Error {
  override readonly name: string = "StepRefused";
  readonly inQuarantine: boolean;

  constructor(step: string, inQuarantine: boolean) {
    super(`${step} is not for a store ${inQuarantine ? "in" : "out of"} quarantine`);
    this.inQuarantine = inQuarantine;
  }
}

export interface StoredSession extends SessionId {
  readonly incarnation: string;
  readonly generation: bigint;
  readonly rules: LeaseRules;
  readonly closed: boolean;
  /** SHA-256 of the secret. */
  readonly secretDigest: Uint8Array;
}

export interface Renewal extends SessionId {
  readonly incarnation: string;
  readonly secretDigest: Uint8Array;
  /** The one that the host was last answered. */
  readonly generation: bigint;
  /** Wall clock, for the directory's "last seen"; decides nothing. */
  readonly seenAtMs: number;
}

export type RenewOutcome =
  | { readonly kind: "renewed"; readonly generation: bigint; readonly rules: LeaseRules }
  | { readonly kind: "unknown" | "void" | "bad-secret" }
  /** The host names a generation above the stored one: the store forgot (GA-6). */
  | { readonly kind: "forgot"; readonly generation: bigint };

/** A session that comes back in quarantine (GA-7). */
export interface Reassertion extends SessionId {
  /** Of the present mark. */
  readonly incarnation: string;
  /** The one that the host was last answered, under whatever incarnation. */
  readonly generation: bigint;
  /** For a session that this incarnation does not know yet; afterwards its own stay (SL-5). */
  readonly rules: LeaseRules;
  readonly secretDigest: Uint8Array;
  /** Wall clock, for the directory's "last seen"; decides nothing. */
  readonly seenAtMs: number;
}

export type ReassertOutcome =
  /** As it is now: with its generation one above the larger of the recorded and the host's, and the secret that was given. */
  | { readonly kind: "reasserted"; readonly session: StoredSession }
  /** It was closed, under whichever incarnation: void is for ever. */
  | { readonly kind: "void" };

export interface Closing {
  readonly session: SessionId;
  /** Close only while the generation is still this one (SL-2); unset: whatever it is. */
  readonly generation: bigint | undefined;
  /** Close only while this session is not closed itself; unset: the registry closes on its own account. */
  readonly caller: SessionId | undefined;
}

export type CloseOutcome = "closed" | "closed-before" | "unknown" | "moved" | "caller-void";

/** An announcement that counts: its session lives. */
export interface StoredHolder {
  readonly session: SessionId;
  readonly checkpoint: CheckpointRef;
}

export interface AgentsRead {
  /** Undefined when it was not asked for, or is not known. */
  readonly caller: StoredSession | undefined;
  /** One for each agent that was asked for, in order. */
  readonly agents: readonly AgentRead[];
}

export interface AgentRead {
  readonly record: Uint8Array | undefined;
  /** Live and newest first; empty unless they were asked for. */
  readonly holders: readonly StoredHolder[];
}

export interface RecordChange {
  readonly agentId: string;
  /** As it was read; undefined: there must be none. */
  readonly before: Uint8Array | undefined;
  readonly after: Uint8Array;
  readonly placement: { readonly before: Placement; readonly after: Placement };
  /** Where the agent changed hands or state: for `readHistory`. The revision orders the entries. */
  readonly history: { readonly revision: bigint; readonly entry: Uint8Array } | undefined;
  /** Refuse when a live session has announced something that is not among these; unset: announcements do not matter. */
  readonly holdersSeen: readonly StoredHolder[] | undefined;
}

export type ApplyOutcome = "applied" | "caller-void" | "record-changed" | "holders-changed";

export interface Announcement {
  readonly held: readonly { readonly agentId: string; readonly checkpoint: CheckpointRef }[];
  readonly withdrawn: readonly string[];
}

export interface Page {
  /** Ids after this one, in order; unset: from the first. */
  readonly after: string | undefined;
  readonly limit: number;
}

export interface StoredHost {
  readonly hostId: string;
  /** Encoded HostInfo. */
  readonly info: Uint8Array;
  readonly draining: boolean;
  /** In a row, as counted; whether they are forgotten by now is the directory's business. */
  readonly failures: number;
  readonly lastFailureAtMs: number;
  readonly live: boolean;
  /** Of the directory, when the host changed last; no two hosts have the same one. */
  readonly version: number;
}

/** What changed in the directory: a host registered, drained, had an outcome counted, or a session opened, brought back or closed. */
export interface HostChanges {
  /** In order of their versions, at most MAX_HOST_CHANGES. The last one's is `latest` when there are no more. */
  readonly hosts: readonly StoredHost[];
  /** The newest version there is; below the one that was named, when the store forgot. */
  readonly latest: number;
}

export interface OutcomeReport {
  readonly hostId: string;
  readonly failed: boolean;
  /** Wall clock. */
  readonly atMs: number;
  /** A failure that came this long after the one before begins a new row. */
  readonly forgetAfterMs: number;
}

export type CountedOutcome =
  | { readonly kind: "counted"; readonly failures: number }
  | { readonly kind: "unknown-host" | "caller-void" };

export interface MarkReading {
  /** Of the store that is really there, which data it has: asked on the connection on which the mark was read. */
  readonly identity: string;
  readonly mark: Uint8Array | undefined;
}

export interface MarkStore {
  readMark(): Promise<MarkReading>;
  /**
   * Compare-and-set; `before` undefined: where there is none. False when the stored one is another by now, or the store is
   * not the one for which `after` was written. With a new incarnation no session is open any more (SL-2).
   */
  replaceMark(before: Uint8Array | undefined, after: Uint8Array): Promise<boolean>;
}

export interface SessionStore {
  /** "exists": the boot id was used before. */
  openSession(mark: Uint8Array, session: StoredSession, seenAtMs: number): Promise<"opened" | "exists">;
  renewSession(mark: Uint8Array, renewal: Renewal): Promise<RenewOutcome>;
  closeSession(mark: Uint8Array, closing: Closing): Promise<CloseOutcome>;
  /** Only in quarantine. Repeating it is harmless: it counts as a renewal each time. */
  reassertSession(mark: Uint8Array, reassertion: Reassertion): Promise<ReassertOutcome>;
  readSessions(mark: Uint8Array, sessions: readonly SessionId[]): Promise<readonly (StoredSession | undefined)[]>;
  /** All that are open, in one call. */
  readOpenSessions(mark: Uint8Array): Promise<readonly SessionSighting[]>;
}

export interface AuthorityStore {
  readAgents(
    mark: Uint8Array,
    what: {
      readonly caller?: SessionId | undefined;
      readonly agentIds: readonly string[];
      readonly withHolders: boolean;
    },
  ): Promise<AgentsRead>;
  /**
   * One atomic step for each change, in order; they do not depend on each other. Not in quarantine. `caller` undefined: an
   * operator's command, which no session sends.
   */
  apply(
    mark: Uint8Array,
    caller: SessionId | undefined,
    changes: readonly RecordChange[],
  ): Promise<readonly ApplyOutcome[]>;
  /** The same for what a host reasserts (GA-7), in few large steps. Only in quarantine. */
  applyReasserted(
    mark: Uint8Array,
    caller: SessionId,
    changes: readonly RecordChange[],
  ): Promise<readonly ApplyOutcome[]>;
  /** What is withdrawn goes first. Of one session's announcements of an agent the newest checkpoint counts, in whatever order they come. */
  announce(mark: Uint8Array, caller: SessionId, announcement: Announcement): Promise<"announced" | "caller-void">;
  /** In order of their ids. */
  findAgents(
    mark: Uint8Array,
    page: Page & { readonly prefix?: string; readonly ownerHostId?: string },
  ): Promise<readonly string[]>;
  /** Newest first. */
  readHistory(mark: Uint8Array, agentId: string): Promise<readonly Uint8Array[]>;
  /** Agents whose owner's session is closed, and those that were released to be taken up (§8). */
  findAgentsToOffer(mark: Uint8Array, page: Page): Promise<readonly string[]>;
  /** Agents that are to be offered once this session is closed. */
  findAgentsOfSession(mark: Uint8Array, session: SessionId, page: Page): Promise<readonly string[]>;
}

export interface DirectoryStore {
  putHost(
    mark: Uint8Array,
    caller: SessionId,
    host: { readonly info: Uint8Array; readonly seenAtMs: number },
  ): Promise<"stored" | "caller-void">;
  /** Hosts that changed after this version; 0: from the first. A renewal is no change. */
  readHosts(mark: Uint8Array, afterVersion: number): Promise<HostChanges>;
  /** When each was last seen: wall clock, ms; 0 for one that is not known. */
  readHostsSeen(mark: Uint8Array, hostIds: readonly string[]): Promise<readonly number[]>;
  setDraining(mark: Uint8Array, hostId: string, draining: boolean): Promise<"set" | "unknown-host">;
  countOutcome(mark: Uint8Array, caller: SessionId, report: OutcomeReport): Promise<CountedOutcome>;
}

export interface RegistryStore extends MarkStore, SessionStore, AuthorityStore, DirectoryStore {
  readonly kind: "embedded" | "redis";
  /** Where it is, for people, without credentials. */
  readonly where: string;
  /** Gives a store that cannot be reached a moment, and then goes on without it. Throws Fault DATA_DIRECTORY_LOCKED, DATA_CORRUPT, DISK_FAILED. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Why it cannot be used now; undefined when it can, as far as is known. */
  trouble(): string | undefined;
}

/** Protocol §11. */
export const MAX_HISTORY = 256;
export const MAX_HOLDERS = 8;

/** Of one `readHosts`: a script that gathers them keeps Redis from others for a few milliseconds. */
export const MAX_HOST_CHANGES = 512;
