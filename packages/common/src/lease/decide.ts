// The table of protocol §4 as one pure function: record, command and facts in; a new record or a refusal out.
//
// It does no I/O, reads no clock and signs nothing. The store applies its result by compare-and-set on the whole record,
// together with the mark and the caller's session (GA-6). Signatures were checked before: a head that arrives here is one
// that the host named by its grant signed; a token's signature is a fact.
//
// EI-1   only `acquire`, `claim` and `recover` change the owner, and each raises the major (or makes the record).
// EI-11  two digests for one major and tick are written down as a conflict and end every way but the operator's.
// FS-3   `begin_handoff` is refused while another handoff is open.

import { compareTerms, sameTerm, type Term } from "./epoch.ts";
import { standing } from "./lineage-walk.ts";
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
  /** The revision on which the caller decided. */
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

export function decide(record: AuthorityRecord | undefined, command: Command, facts: Facts): Decision {
  const refuse = (code: RefusalCode): Decision => ({ kind: "refused", code, record, write: false });

  if (command.incarnation !== facts.mark.incarnation) return refuse("STALE_INCARNATION");
  if (facts.mark.quarantine) return refuse("QUARANTINE");
  if (facts.caller === "unknown") return refuse("SESSION_UNKNOWN");
  if (facts.caller === "void") return refuse("SESSION_VOID");
  if (facts.caller === "bad-secret") return refuse("BAD_SECRET");

  if (command.kind === "acquire") return acquire(record, command, facts);
  if (record === undefined) return refuse("NO_RECORD");
  if (record.lastCommand === command.id && sameSession(record.owner, command.caller))
    return { kind: "repeated", record };

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

  const code = firstRefusal(record, command, facts);
  if (code === "DIVERGENT_LINEAGE" && record.conflict === undefined) {
    return { kind: "refused", code, record: withConflict(record, command), write: true };
  }
  if (code !== undefined) return refuse(code);

  switch (command.kind) {
    case "report_head":
      return record.unconfirmed === undefined
        ? changed({ head: command.head }, { keepsRevision: true })
        : changed({
            head: command.head,
            unconfirmed: undefined,
            bases: withBase(record.bases, { era: record.era, major: record.major, startedFrom: command.head }),
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
      const term = { era: record.era, major: record.major + 1n };
      return changed(
        {
          ...ownedBy(command.caller),
          ...term,
          bases: withBase(record.bases, { ...term, startedFrom: record.head }),
        },
        { sign: "grant" },
      );
    }
    case "recover": {
      const term = { era: record.era, major: record.major + 1n };
      const confirmed = sameSession(record.owner, command.caller) && record.unconfirmed === undefined;
      return changed(
        {
          ...ownedBy(command.caller),
          ...term,
          ...(confirmed
            ? { head: command.head, bases: withBase(record.bases, { ...term, startedFrom: command.head }) }
            : { unconfirmed: command.head }),
        },
        { sign: "grant" },
      );
    }
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
  }
}

function acquire(record: AuthorityRecord | undefined, command: Acquire, facts: Facts): Decision {
  if (record !== undefined) {
    return record.lastCommand === command.id && sameSession(record.owner, command.caller)
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
    },
  };
}

/** The reasons from TERMINATED on, in the order of §4. */
function firstRefusal(
  record: AuthorityRecord,
  command: Exclude<Command, Acquire>,
  facts: Facts,
): RefusalCode | undefined {
  const byOwner = sameSession(record.owner, command.caller);
  const lineage = "head" in command && command.head ? standing(record.bases, record.head, command.head) : undefined;

  if (record.terminated !== undefined && command.kind !== "terminate") return "TERMINATED";
  if (command.kind !== "claim" && command.kind !== "recover" && !byOwner) return "NOT_OWNER";
  if (command.kind === "report_head" && !sameTerm(command, record)) return "NOT_OWNER";
  if ("revision" in command && command.revision !== record.revision) return "STALE_REVISION";
  if (command.kind === "recover" && !byOwner && !facts.ownerVoid && record.state !== "RETIRED") return "OWNER_ALIVE";
  if (command.kind === "begin_handoff" && record.state === "HANDOFF_INITIATED") return "HANDOFF_IN_PROGRESS";
  if (command.kind === "claim" && !isOpenHandoff(record, command.token)) return "HANDOFF_SUPERSEDED";

  const needsNoConflict = command.kind === "recover" || command.kind === "release";
  if (lineage === "divergent" || (needsNoConflict && record.conflict !== undefined)) return "DIVERGENT_LINEAGE";
  // A record of an earlier incarnation may only be recovered, and only by the rules of GA-9.
  if (record.incarnation !== facts.mark.incarnation) return "RECOVERY_REQUIRED";
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

function needsConfirmedBase(command: Exclude<Command, Acquire>): boolean {
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
 * not behind the record's head either, under `latest` not behind what a live session has announced.
 */
function isTooOld(
  record: AuthorityRecord,
  head: CheckpointRef,
  { command, byOwner, facts }: { command: Command; byOwner: boolean; facts: Facts },
): boolean {
  const mayGoBack = command.kind === "recover" && (!byOwner || record.unconfirmed !== undefined);
  if (!mayGoBack) return compareCheckpoints(head, record.head) < 0;
  if (byOwner) return false;
  if (record.recoveryPolicy === "strict") return compareCheckpoints(head, record.head) < 0;
  return facts.announced.some(
    (held) => compareCheckpoints(held, head) > 0 && standing(record.bases, record.head, held) === "on-lineage",
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
function withConflict(record: AuthorityRecord, command: Exclude<Command, Acquire>): AuthorityRecord {
  const offered = "head" in command ? command.head : undefined;
  if (offered === undefined) return record;
  const known = [record.head, ...record.bases.map((base) => base.startedFrom)].find(
    (ref) => compareTerms(ref, offered) === 0 && ref.tick === offered.tick && ref.digest !== offered.digest,
  );
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
