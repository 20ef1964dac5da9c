// The table of protocol §4 as one pure function: record, command and facts in; a new record or a refusal out.
//
// It does no I/O, reads no clock and signs nothing. The store applies its result by compare-and-set on the whole record,
// together with the mark and the caller's session (GA-6). Signatures were checked before: a head that arrives here is one
// that the host named by its grant signed; a token's signature is a fact.
//
// EI-1   only `acquire`, `claim` and `recover` change the owner, and each raises the major (or makes the record).
//        `force_recover` ends every ownership and raises it too.
// EI-11  two digests for one major and tick are written down as a conflict and end every way but the operator's.
// FS-3   `begin_handoff` is refused while another handoff is open.
// GA-9   a record of another incarnation, or none, takes `recover` and `force_recover` only, with the spine of the
//        checkpoint, and then the term (counter, 0), so that no lost major is ever given twice.

import { compareTerms, sameTerm, type Term } from "./epoch.ts";
import { diverges, lossOf, type Standing, standing } from "./lineage-walk.ts";
import {
  type AuthorityRecord,
  type Base,
  type CheckpointRef,
  compareCheckpoints,
  maxBases,
  type RecoveryPolicy,
  type RetiredReason,
  type SessionId,
  sameCheckpoint,
  sameSession,
} from "./record.ts";

/** The refusals of §4 in their order: the first that holds is given. */
export const refusalCodes = [
  "STALE_INCARNATION",
  "QUARANTINE",
  "SESSION_UNKNOWN",
  "SESSION_VOID",
  "BAD_SECRET",
  "NO_RECORD",
  "EXISTS",
  "BAD_GENESIS",
  "TERMINATED",
  "NOT_OWNER",
  "STALE_REVISION",
  "OWNER_ALIVE",
  "HANDOFF_IN_PROGRESS",
  "HANDOFF_SUPERSEDED",
  "DIVERGENT_LINEAGE",
  "RECOVERY_REQUIRED",
  "BASE_UNCONFIRMED",
  "STALE_CHECKPOINT",
  "BAD_TOKEN",
  // Last, since only what `reassert` shows can get it (§9).
  "BAD_GRANT",
] as const;

export type RefusalCode = (typeof refusalCodes)[number];

interface CommandBase {
  /** Made once for one decision; a repeated call carries the same. */
  readonly id: string;
  readonly incarnation: string;
  readonly agentId: string;
  readonly caller: SessionId;
}

interface OnRevision extends CommandBase {
  /** The revision on which the caller decided; 0 where there was no record. */
  readonly revision: bigint;
}

/** What a relinquish token says (§2). */
export interface TokenClaims extends Term {
  readonly agentId: string;
  readonly handoffId: string;
  readonly targetHostId: string;
  readonly checkpointDigest: string;
  readonly tick: bigint;
}

export interface Acquire extends CommandBase {
  readonly kind: "acquire";
  readonly genesis: {
    readonly creatorHostId: string;
    readonly incarnation: string;
    readonly recoveryPolicy: RecoveryPolicy;
    readonly name: string;
  };
  readonly head: CheckpointRef;
}
export interface ReportHead extends CommandBase, Term {
  readonly kind: "report_head";
  readonly head: CheckpointRef;
}
export interface BeginHandoff extends OnRevision {
  readonly kind: "begin_handoff";
  readonly handoffId: string;
  readonly targetHostId: string;
  readonly head: CheckpointRef;
}
export interface RevertHandoff extends OnRevision {
  readonly kind: "revert_handoff";
}
export interface Claim extends CommandBase {
  readonly kind: "claim";
  readonly token: TokenClaims;
}
export interface Recover extends OnRevision {
  readonly kind: "recover";
  readonly head: CheckpointRef;
}
export interface DeclareRecovery extends OnRevision {
  readonly kind: "declare_recovery";
  readonly reason: string;
}
export interface Release extends OnRevision {
  readonly kind: "release";
  readonly reason: RetiredReason;
  readonly head: CheckpointRef | undefined;
}
export interface Terminate extends OnRevision {
  readonly kind: "terminate";
}
/** An operator's command: no session sends it. */
export interface ForceRecover extends Omit<OnRevision, "caller"> {
  readonly kind: "force_recover";
  readonly head: CheckpointRef;
  /** Who chose, and why; for the history. */
  readonly operator: { readonly name: string; readonly reason: string };
  /** The operator states that no acceptable checkpoint is left. */
  readonly noneAcceptable: boolean;
}

/** What a session sends. */
export type Command =
  | Acquire
  | ReportHead
  | BeginHandoff
  | RevertHandoff
  | Claim
  | Recover
  | DeclareRecovery
  | Release
  | Terminate;

type AnyCommand = Command | ForceRecover;

/** What a checkpoint's spine says, verified header by header down to tick 0. */
export interface SpineFacts {
  /** `basesOfSpine` of the checkpoint and what is under it. */
  readonly bases: readonly Base[];
  readonly genesis: {
    readonly incarnation: string;
    readonly recoveryPolicy: RecoveryPolicy;
    readonly name: string;
  };
  /** The incarnation of the checkpoint's own grant; `undefined` at tick 0. */
  readonly grantedUnder: string | undefined;
}

/** What else was true in the atomic step, or can never become false again. */
export interface Facts {
  readonly mark: { readonly incarnation: string; readonly counter: bigint; readonly quarantine: boolean };
  readonly caller: "open" | "unknown" | "void" | "bad-secret";
  /** The record's owner session is void (SL-2: for ever). */
  readonly ownerVoid: boolean;
  /** What live sessions have announced of this agent. */
  readonly announced: readonly CheckpointRef[];
  /** The genesis shown hashes to the agent's id. */
  readonly genesisMatches: boolean;
  /** The token was signed by the host of the record's owner. */
  readonly tokenSignedByOwner: boolean;
  /** Of the head, where it was shown with it: `recover` after a loss of the store (GA-9) and `force_recover` need it. */
  readonly spine?: SpineFacts | undefined;
}

/** What the registry signs and puts into the record before it is stored. */
export type Statement = "grant" | "termination";

export type Decision =
  | { readonly kind: "applied"; readonly record: AuthorityRecord; readonly sign: Statement | undefined }
  /** Done already by this very command: the answer is the same. */
  | { readonly kind: "repeated"; readonly record: AuthorityRecord }
  | {
      readonly kind: "refused";
      readonly code: RefusalCode;
      /** As it is; with `write`, as it must be stored because a conflict was found (EI-11). */
      readonly record: AuthorityRecord | undefined;
      readonly write: boolean;
    };

export function decide(record: AuthorityRecord | undefined, command: Command | ForceRecover, facts: Facts): Decision {
  const refuse = (code: RefusalCode): Decision => ({ kind: "refused", code, record, write: false });

  if (command.incarnation !== facts.mark.incarnation) return refuse("STALE_INCARNATION");
  if (facts.mark.quarantine) return refuse("QUARANTINE");
  if (command.kind !== "force_recover") {
    if (facts.caller === "unknown") return refuse("SESSION_UNKNOWN");
    if (facts.caller === "void") return refuse("SESSION_VOID");
    if (facts.caller === "bad-secret") return refuse("BAD_SECRET");
  }

  if (command.kind === "acquire") return acquire(record, command, facts);
  if (record === undefined) return withoutRecord(command, facts);
  if (isRepeated(record, command)) return { kind: "repeated", record };

  const code = firstRefusal(record, command, facts);
  if (code === "DIVERGENT_LINEAGE" && record.conflict === undefined) {
    return { kind: "refused", code, record: withConflict(record, command), write: true };
  }
  if (code !== undefined) return refuse(code);
  return effect(record, command, facts);
}

/** The column "effect" of §4; everything that could refuse is behind. */
function effect(record: AuthorityRecord, command: Exclude<AnyCommand, Acquire>, facts: Facts): Decision {
  const changed = (
    changes: Partial<AuthorityRecord>,
    options: { sign?: Statement; keepsRevision?: boolean } = {},
  ): Decision => ({
    kind: "applied",
    record: {
      ...record,
      ...(options.keepsRevision ? {} : { revision: record.revision + 1n, lastCommand: command.id }),
      ...changes,
    },
    sign: options.sign,
  });

  switch (command.kind) {
    case "report_head":
      return record.unconfirmed === undefined
        ? changed({ head: command.head }, { keepsRevision: true })
        : changed({
            head: command.head,
            unconfirmed: undefined,
            afterLoss: undefined,
            bases: withBase(record.afterLoss?.spine ?? record.bases, {
              era: record.era,
              major: record.major,
              startedFrom: command.head,
            }),
          });
    case "begin_handoff":
      return changed({
        state: "HANDOFF_INITIATED",
        handoff: { id: command.handoffId, targetHostId: command.targetHostId },
        head: command.head,
      });
    case "revert_handoff":
      return changed({ state: "ACTIVE_OWNER", handoff: undefined });
    case "claim": {
      const term = nextTerm(record, facts);
      return changed(
        {
          ...ownedBy(command.caller),
          ...term,
          bases: withBase(record.bases, { ...term, startedFrom: record.head }),
        },
        { sign: "grant" },
      );
    }
    case "recover":
      return changed(recovered(record, command, facts), { sign: "grant" });
    case "declare_recovery":
      return changed({ state: "RECOVERY_REQUIRED", handoff: undefined, declared: true });
    case "release":
      return changed({
        state: "RETIRED",
        reason: command.reason,
        handoff: undefined,
        ...(command.head === undefined ? {} : { head: command.head }),
      });
    case "terminate":
      return changed({ state: "RETIRED", reason: undefined, handoff: undefined }, { sign: "termination" });
    case "force_recover":
      return changed(forcedTo(nextTerm(record, facts), command, facts));
  }
}

/** The next major; after a loss of the store the first of a new era (GA-9). */
function nextTerm(record: AuthorityRecord, { mark }: Facts): Term {
  return record.incarnation === mark.incarnation
    ? { era: record.era, major: record.major + 1n }
    : { era: mark.counter, major: 0n };
}

function recovered(record: AuthorityRecord, command: Recover, facts: Facts): Partial<AuthorityRecord> {
  const term = nextTerm(record, facts);
  const owned = { ...ownedBy(command.caller), ...term, incarnation: facts.mark.incarnation };
  const loss = lossOf(record, facts.mark);
  if (loss !== undefined) {
    const { bases: spine = [], genesis = record } = facts.spine ?? {};
    const { name, recoveryPolicy } = genesis;
    return { ...owned, name, recoveryPolicy, unconfirmed: command.head, afterLoss: { ...loss, spine } };
  }
  if (!sameSession(record.owner, command.caller) || record.unconfirmed !== undefined) {
    return { ...owned, unconfirmed: command.head };
  }
  return { ...owned, head: command.head, bases: withBase(record.bases, { ...term, startedFrom: command.head }) };
}

function forcedTo(term: Term, { head }: ForceRecover, { mark, spine }: Facts): Partial<AuthorityRecord> {
  return {
    ...(spine && { name: spine.genesis.name, recoveryPolicy: spine.genesis.recoveryPolicy }),
    incarnation: mark.incarnation,
    state: "RETIRED",
    reason: "forced",
    ...term,
    owner: undefined,
    handoff: undefined,
    head,
    bases: withBase(spine?.bases ?? [], { ...term, startedFrom: head }),
    unconfirmed: undefined,
    conflict: undefined,
    forced: term,
    afterLoss: undefined,
    declared: false,
    // It was the former owner's.
    grant: undefined,
  };
}

/** GA-9: an agent that has checkpoints but no record. Only a loss of the store explains that. */
function withoutRecord(command: Exclude<AnyCommand, Acquire>, facts: Facts): Decision {
  const refuse = (code: RefusalCode): Decision => ({ kind: "refused", code, record: undefined, write: false });
  if (command.kind !== "recover" && command.kind !== "force_recover") return refuse("NO_RECORD");
  const { mark, spine } = facts;
  const term = { era: mark.counter, major: 0n };
  // What this incarnation itself made, or granted, it has not lost by being a new one.
  const isOlder = spine !== undefined && !isOfIncarnation(spine, mark.incarnation);
  if (!isOlder || command.revision !== 0n || compareTerms(term, command.head) <= 0) return refuse("NO_RECORD");
  if (command.kind === "force_recover" && !command.noneAcceptable) return refuse("RECOVERY_REQUIRED");

  const { head } = command;
  const created: AuthorityRecord = {
    agentId: command.agentId,
    name: spine.genesis.name,
    incarnation: mark.incarnation,
    revision: 1n,
    state: "RECOVERY_REQUIRED",
    reason: undefined,
    ...term,
    owner: undefined,
    handoff: undefined,
    head,
    bases: [],
    unconfirmed: undefined,
    lastCommand: command.id,
    conflict: undefined,
    forced: undefined,
    afterLoss: undefined,
    declared: false,
    terminated: undefined,
    grant: undefined,
    recoveryPolicy: spine.genesis.recoveryPolicy,
  };
  if (command.kind === "force_recover") {
    return { kind: "applied", record: { ...created, ...forcedTo(term, command, facts) }, sign: undefined };
  }
  const loss = { above: undefined, era: mark.counter };
  const newerIsHeld = facts.announced.some(
    (held) => compareCheckpoints(held, head) > 0 && standing([], head, held, { afterLoss: loss }) === "on-lineage",
  );
  if (newerIsHeld) return refuse("STALE_CHECKPOINT");
  return {
    kind: "applied",
    sign: "grant",
    record: {
      ...created,
      ...ownedBy(command.caller),
      unconfirmed: head,
      afterLoss: { ...loss, spine: spine.bases },
    },
  };
}

function isOfIncarnation({ genesis, grantedUnder }: SpineFacts, incarnation: string): boolean {
  return genesis.incarnation === incarnation || grantedUnder === incarnation;
}

/** Whether this very command is what the record was last changed by. */
function isRepeated(record: AuthorityRecord, command: AnyCommand): boolean {
  if (record.lastCommand !== command.id || record.incarnation !== command.incarnation) return false;
  return command.kind === "force_recover"
    ? record.forced !== undefined && sameTerm(record.forced, record)
    : sameSession(record.owner, command.caller);
}

function acquire(record: AuthorityRecord | undefined, command: Acquire, facts: Facts): Decision {
  if (record !== undefined) {
    return isRepeated(record, command)
      ? { kind: "repeated", record }
      : { kind: "refused", code: "EXISTS", record, write: false };
  }
  const { genesis, head } = command;
  const term = { era: facts.mark.counter, major: 0n };
  if (
    !facts.genesisMatches ||
    genesis.creatorHostId !== command.caller.hostId ||
    genesis.incarnation !== facts.mark.incarnation ||
    !sameTerm(head, term) ||
    head.tick !== 0n
  ) {
    return { kind: "refused", code: "BAD_GENESIS", record, write: false };
  }
  return {
    kind: "applied",
    sign: "grant",
    record: {
      agentId: command.agentId,
      name: genesis.name,
      incarnation: facts.mark.incarnation,
      revision: 1n,
      ...ownedBy(command.caller),
      ...term,
      head,
      bases: [{ ...term, startedFrom: head }],
      unconfirmed: undefined,
      lastCommand: command.id,
      terminated: undefined,
      grant: undefined,
      recoveryPolicy: genesis.recoveryPolicy,
      conflict: undefined,
      forced: undefined,
      afterLoss: undefined,
    },
  };
}

/** The reasons from TERMINATED on, in the order of §4. */
function firstRefusal(
  record: AuthorityRecord,
  command: Exclude<AnyCommand, Acquire>,
  facts: Facts,
): RefusalCode | undefined {
  if (command.kind === "force_recover") return forceRefusal(record, command, facts);
  const byOwner = sameSession(record.owner, command.caller);
  const loss = lossOf(record, facts.mark);
  const lost = record.incarnation !== facts.mark.incarnation;
  const lineage = "head" in command && command.head ? standingOf(record, command.head, facts) : undefined;

  if (record.terminated !== undefined && command.kind !== "terminate") return "TERMINATED";
  if (command.kind !== "claim" && command.kind !== "recover" && !byOwner) return "NOT_OWNER";
  if (command.kind === "report_head" && !sameTerm(command, record)) return "NOT_OWNER";
  if ("revision" in command && command.revision !== record.revision) return "STALE_REVISION";
  const ownerGone = byOwner || facts.ownerVoid || record.state === "RETIRED" || lost; // GA-9: lost, whoever lives
  if (command.kind === "recover" && !ownerGone) return "OWNER_ALIVE";
  if (command.kind === "begin_handoff" && record.state === "HANDOFF_INITIATED") return "HANDOFF_IN_PROGRESS";
  if (command.kind === "claim" && !isOpenHandoff(record, command.token)) return "HANDOFF_SUPERSEDED";

  const needsNoConflict = command.kind === "recover" || command.kind === "release";
  if (lineage === "divergent" || (needsNoConflict && record.conflict !== undefined)) return "DIVERGENT_LINEAGE";
  // GA-9: it may only be recovered, by a checkpoint with its spine.
  if (lost && command.kind !== "recover") return "RECOVERY_REQUIRED";
  if (command.kind === "recover" && loss !== undefined && !maySucceed(record, command.head, facts)) {
    return "RECOVERY_REQUIRED";
  }
  if (!allowedStates[command.kind].includes(record.state)) return "RECOVERY_REQUIRED";

  if (needsConfirmedBase(command) && record.unconfirmed !== undefined) return "BASE_UNCONFIRMED";
  if (command.kind === "report_head" && record.unconfirmed !== undefined) {
    return sameCheckpoint(command.head, record.unconfirmed) ? undefined : "BASE_UNCONFIRMED";
  }
  if (lineage === "orphan") return "STALE_CHECKPOINT";
  if ("head" in command && command.head && isTooOld(record, command.head, { command, byOwner, facts })) {
    return "STALE_CHECKPOINT";
  }
  if (command.kind === "claim" && !isValidToken(record, command, facts)) return "BAD_TOKEN";
  return undefined;
}

/** §4, the last row: when an operator's choice is not taken. */
function forceRefusal(record: AuthorityRecord, command: ForceRecover, facts: Facts): RefusalCode | undefined {
  const lost = record.incarnation !== facts.mark.incarnation;
  if (record.terminated !== undefined) return "TERMINATED";
  if (command.revision !== record.revision) return "STALE_REVISION";
  const ownerGone = record.owner === undefined || facts.ownerVoid || record.declared || record.state === "RETIRED";
  if (!ownerGone && !lost) return "OWNER_ALIVE";
  if (facts.spine === undefined || (record.conflict === undefined && !command.noneAcceptable)) {
    return "RECOVERY_REQUIRED";
  }
  if (lost && !maySucceed(record, command.head, facts)) return "RECOVERY_REQUIRED";
  // Nothing that exists is of a term that is yet to be given.
  return compareTerms(command.head, nextTerm(record, facts)) >= 0 ? "STALE_CHECKPOINT" : undefined;
}

/**
 * GA-9: a recovery after a loss shows the spine, and its new term is above everything that is known. What this incarnation
 * granted already was not lost by its being a new one: the store forgot again, and another quarantine has to come first.
 */
function maySucceed(record: AuthorityRecord, head: CheckpointRef, facts: Facts): boolean {
  if (facts.spine === undefined) return false;
  if (record.incarnation === facts.mark.incarnation) return true;
  const term = nextTerm(record, facts);
  if (compareTerms(term, record) <= 0 || compareTerms(term, head) <= 0) return false;
  return !isOfIncarnation(facts.spine, facts.mark.incarnation);
}

function standingOf(record: AuthorityRecord, candidate: CheckpointRef, { mark }: Facts): Standing {
  return standing(record.bases, record.head, candidate, { forced: record.forced, afterLoss: lossOf(record, mark) });
}

const everyState = ["ACTIVE_OWNER", "HANDOFF_INITIATED", "HANDOFF_PENDING", "RECOVERY_REQUIRED", "RETIRED"] as const;
const notRetired = everyState.filter((state) => state !== "RETIRED");

/** The column "allowed when" of §4, as far as it speaks of the state. */
const allowedStates: Record<Exclude<Command["kind"], "acquire">, readonly AuthorityRecord["state"][]> = {
  report_head: notRetired,
  begin_handoff: ["ACTIVE_OWNER"],
  revert_handoff: ["ACTIVE_OWNER", "HANDOFF_INITIATED"],
  claim: ["HANDOFF_INITIATED"],
  recover: everyState,
  declare_recovery: notRetired,
  release: everyState,
  terminate: everyState,
};

function needsConfirmedBase(command: Command): boolean {
  return command.kind === "begin_handoff" || (command.kind === "release" && command.head !== undefined);
}

function isOpenHandoff(record: AuthorityRecord, token: TokenClaims): boolean {
  return record.state === "HANDOFF_INITIATED" && record.handoff?.id === token.handoffId && sameTerm(record, token);
}

function isValidToken(record: AuthorityRecord, { token, caller }: Claim, facts: Facts): boolean {
  return (
    facts.tokenSignedByOwner &&
    token.agentId === record.agentId &&
    token.targetHostId === record.handoff?.targetHostId &&
    token.targetHostId === caller.hostId &&
    token.checkpointDigest === record.head.digest &&
    token.tick === record.head.tick
  );
}

/**
 * A head must not be older than the record's. Only a recovery that leaves its base unconfirmed may go back: under `strict`
 * not behind the record's head either, under `latest` and after a loss not behind what a live session has announced. An
 * owner may always come back to the base that it has not confirmed yet.
 */
function isTooOld(
  record: AuthorityRecord,
  head: CheckpointRef,
  { command, byOwner, facts }: { command: Command; byOwner: boolean; facts: Facts },
): boolean {
  const loss = lossOf(record, facts.mark);
  const { unconfirmed } = record;
  const mayGoBack = command.kind === "recover" && (!byOwner || unconfirmed !== undefined || loss !== undefined);
  if (!mayGoBack) return compareCheckpoints(head, record.head) < 0;
  const isOwnBase = byOwner && unconfirmed !== undefined && compareCheckpoints(head, unconfirmed) >= 0;
  if (isOwnBase && record.incarnation === facts.mark.incarnation) return false;
  if (record.recoveryPolicy === "strict" && compareCheckpoints(head, record.head) < 0) return true;
  if (record.recoveryPolicy === "strict" && loss === undefined) return false;
  return facts.announced.some(
    (held) => compareCheckpoints(held, head) > 0 && standingOf(record, held, facts) === "on-lineage",
  );
}

/** The owner is the caller, ticking is its right, and every earlier handoff, reason and declaration is over. */
function ownedBy(owner: SessionId): Pick<AuthorityRecord, "state" | "reason" | "owner" | "handoff" | "declared"> {
  return { state: "ACTIVE_OWNER", reason: undefined, owner, handoff: undefined, declared: false };
}

/** Majors in a row with the same base are one entry. */
function withBase(bases: readonly Base[], base: Base): readonly Base[] {
  const [newest, ...older] = bases;
  const rest = newest !== undefined && sameCheckpoint(newest.startedFrom, base.startedFrom) ? older : bases;
  return [base, ...rest].slice(0, maxBases);
}

/** EI-11: what is known and what was offered; the agent waits for an operator. */
function withConflict(record: AuthorityRecord, command: Exclude<AnyCommand, Acquire>): AuthorityRecord {
  const offered = "head" in command ? command.head : undefined;
  if (offered === undefined) return record;
  const known = [record.head, ...record.bases.map((base) => base.startedFrom)].find((ref) => diverges(ref, offered));
  if (known === undefined) return record;
  return {
    ...record,
    revision: record.revision + 1n,
    // No command was done: a caller that repeats this one must not take it for done.
    lastCommand: "",
    state: "RECOVERY_REQUIRED",
    reason: undefined,
    handoff: undefined,
    declared: false,
    conflict: {
      era: offered.era,
      major: offered.major,
      tick: offered.tick,
      known: known.digest,
      offered: offered.digest,
    },
  };
}
