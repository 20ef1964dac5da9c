// What a model's world is made of: hosts, the registry's store, messages in flight, and what an onlooker remembers of it.
// Everything is plain data; the types of the production code are used wherever it reads or writes them.

import type {
  AuthorityRecord,
  CheckpointRef,
  Command,
  GrantItem,
  ReassertDecision,
  RefusalCode,
  RetiredReason,
  SeenMark,
  SessionId,
  SignedBytes,
  StoreMark,
  Tenure,
  Term,
} from "@godwit/common/lease";
import type { JournalView } from "../../judge.ts";
import type { SourceState } from "../../source.ts";
import type { TargetState } from "../../target.ts";

/** A session, and the incarnation of the store that its host believes in. */
export interface Session {
  readonly bootId: string;
  readonly incarnation: string;
  /** From which a reassert brought it over; its deadline has passed since the last renewal under that one. */
  readonly from?: string | undefined;
  readonly missed?: boolean | undefined;
}

/** A relinquish token; nobody forges signatures here, so the signer is a fact. */
export interface Token extends Term {
  readonly agentId: string;
  readonly handoffId: string;
  readonly sourceHostId: string;
  readonly targetHostId: string;
  readonly checkpointDigest: string;
  readonly tick: bigint;
}

/** As services/agent-host/src/storage/journal.ts has it, as far as a decision reads it. */
export type Journal =
  | { readonly phase: "acquiring"; readonly bootId: string }
  | { readonly phase: "owner"; readonly bootId: string }
  | ({ readonly phase: "relinquished"; readonly targetHostId: string } & Term)
  | ({
      readonly phase: "claiming";
      readonly bootId: string;
      readonly commandId: string;
      readonly handoffId: string;
      readonly token: Token;
    } & Term)
  | { readonly phase: "recovering"; readonly commandId: string; readonly on: Term | undefined }
  | {
      readonly phase: "giving-up";
      readonly bootId: string;
      readonly commandId: string;
      readonly command: GivingUp["command"];
      readonly reason: RetiredReason | undefined;
    }
  | { readonly phase: "replica" }
  | { readonly phase: "retired" }
  | { readonly phase: "terminated" };

/** The judge must be able to read it. */
export const journalView = (journal: Journal): JournalView => journal;

export interface GivingUp {
  readonly command: "release" | "declare_recovery" | "terminate";
  readonly reason: RetiredReason | undefined;
}

export interface Staged {
  readonly handoffId: string;
  readonly checkpoint: CheckpointRef;
}

/** What the present term stands on: Ground and revision of tenancy.ts. */
export interface Ground extends Term {
  readonly base: CheckpointRef;
  readonly created: boolean;
  readonly revision: bigint;
  /** What a reassert tells beside its own checkpoints, while the base is not confirmed. */
  readonly pending: Pick<AuthorityRecord, "bases" | "head" | "afterLoss"> | undefined;
}

/** Who waits for an answer of the registry, and for which. */
export interface Call {
  readonly purpose: "acquire" | "claim" | "recover" | "give-up" | "confirm" | "begin" | "revert";
  readonly commandId: string;
  /** Under which it was sent; an answer counts for that one. */
  readonly session: Session;
}

export interface Outgoing {
  readonly state: SourceState;
  readonly streamOpen: boolean;
  /** `revert` was commanded and the record was not read yet. */
  readonly revertDue: boolean;
  readonly token: Token | undefined;
}

export interface Incoming {
  readonly state: TargetState;
  readonly sourceHostId: string;
  readonly streamOpen: boolean;
  readonly token: Token | undefined;
  readonly checkpoint: CheckpointRef | undefined;
  readonly claim: { readonly commandId: string; readonly session: Session; readonly before: Journal } | undefined;
  /** A claim was sent and not answered. */
  readonly waiting: boolean;
  readonly granted: AuthorityRecord | undefined;
  /** Newest term that the host had relinquished when it staged this. */
  readonly relinquished: Term | undefined;
}

export interface Host {
  readonly name: string;
  readonly up: boolean;
  readonly boots: number;
  readonly session: Session | undefined;
  /** The deadline of the newest answered renewal has passed. */
  readonly lapsed: boolean;
  // On the disk.
  readonly journal: Journal;
  readonly relinquished: Term | undefined;
  /** Newest first. */
  readonly held: readonly CheckpointRef[];
  readonly staged: Staged | undefined;
  // In memory: the supervisor and its tenancy, if there is one, and whoever moves the agent.
  readonly supervised: boolean;
  readonly tenure: Tenure;
  readonly ground: Ground | undefined;
  /** What the instance stands on; there is no instance without it. */
  readonly latest: CheckpointRef | undefined;
  readonly untold: boolean;
  readonly asked: boolean;
  readonly wish: GivingUp | undefined;
  readonly call: Call | undefined;
  readonly source: Outgoing | undefined;
  readonly target: Incoming | undefined;
  /** The claim was answered, and what was staged is not a checkpoint of ours yet. */
  readonly promoting: boolean;
  /** Grows with each command whose outcome stayed unknown, so that the next one is another command. */
  readonly nonce: number;
  /** A reassert of the agent was sent and not answered. */
  readonly reasserting: boolean;
}

export interface StoredSession {
  readonly incarnation: string;
  readonly closed: boolean;
}

/** Everything that the store can forget. */
export interface Store {
  /** Gone, or of another store than the live one: nothing is served before it was replaced. */
  readonly mark: StoreMark | undefined;
  /** Which store there really is. */
  readonly identity: string;
  readonly record: AuthorityRecord | undefined;
  readonly sessions: Readonly<Record<string, StoredSession>>;
  readonly holders: Readonly<Record<string, CheckpointRef>>;
}

/** The answer to a command, as services/agent-host/src/registry/ports.ts has it. */
export type Answer =
  | { readonly kind: "applied"; readonly record: AuthorityRecord }
  | { readonly kind: "refused"; readonly code: RefusalCode; readonly record: AuthorityRecord | undefined }
  | { readonly kind: "unknown" };

export type Message =
  /** `reply`: its sender still waits for the answer. */
  | {
      readonly kind: "request";
      readonly from: string;
      readonly slot: Slot;
      readonly reply: boolean;
      readonly command: Command;
    }
  | {
      readonly kind: "response";
      readonly to: string;
      readonly slot: Slot;
      readonly commandId: string;
      readonly answer: Answer;
    }
  | { readonly kind: "handoff"; readonly to: string; readonly token: Token; readonly checkpoint: CheckpointRef }
  | ({ readonly kind: "started"; readonly to: string; readonly handoffId: string; readonly digest: string } & Term)
  | { readonly kind: "refused"; readonly to: string; readonly handoffId: string }
  | {
      readonly kind: "reassert";
      readonly from: string;
      readonly slot: "reassert";
      readonly reply: boolean;
      readonly item: GrantItem;
      readonly session: SessionId;
      /** The incarnation from which the session came, and the one in which it is now. */
      readonly incarnation: string;
      readonly under: string;
    }
  | {
      readonly kind: "reasserted";
      readonly to: string;
      readonly slot: "reassert";
      readonly decision: ReassertDecision;
    };

/** Whose call it is: the supervisor's, the arriving agent's, or a head report, for which nobody waits. */
export type Slot = "tenancy" | "arrival" | "report" | "reassert";

/** What an onlooker has seen of one term. */
export interface TermSeen extends Term {
  readonly session: string;
  readonly base: CheckpointRef;
  /** Newest checkpoint that was committed under it. */
  readonly last: CheckpointRef | undefined;
}

/** Oldest term first. */
export interface Ghost {
  readonly terms: readonly TermSeen[];
  /** The newest mark, of which a registry or a host knows whatever the store has forgotten. */
  readonly mark: SeenMark;
}

export type GhostEvent =
  | { readonly kind: "marked"; readonly mark: SeenMark }
  | { readonly kind: "committed"; readonly checkpoint: CheckpointRef; readonly previous: CheckpointRef }
  | ({
      readonly kind: "granted";
      readonly session: string;
      readonly base: CheckpointRef;
      readonly by: string;
    } & Term);

export const agentId = "agent";
/** The incarnation in which everything begins, and which the genesis names. */
export const firstIncarnation = "i0";
export const signed: SignedBytes = { payload: new Uint8Array(0), signature: new Uint8Array(0) };

export function sessionId(host: string, { bootId }: Session): SessionId {
  return { hostId: host, bootId };
}

export function sessionName({ hostId, bootId }: SessionId): string {
  return `${hostId}/${bootId}`;
}

export function shortTerm({ era, major }: Term): string {
  return `${era}.${major}`;
}

export function shortRef(ref: CheckpointRef): string {
  return `${ref.digest}(${ref.era}.${ref.major}@${ref.tick})`;
}
