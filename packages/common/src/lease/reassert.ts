// What the registry does with what a host brings back in quarantine (GA-7): a session, and item by item its agents.
//
// Pure, as `decide`: signatures and the genesis were checked before. A record of the present incarnation is one that a grant
// has confirmed; everything else may still be rebuilt.
//
// EI-1   A record confirmed under this incarnation is never given to anybody else. What shows that it should not have been
//        confirmed is a violation: the agent stops, under a major that nobody holds, until an operator decides (EI-7).
// GA-7   A lower major, the same major and session, or no record is rebuilt. A conflict of the same major and a termination
//        survive, in whatever order the items come.
// GA-8   What the record shows as given up (RETIRED, declared) is not taken up again by a grant of that very major.

import { compareTerms, sameTerm, type Term } from "./epoch.ts";
import { standing } from "./lineage-walk.ts";
import {
  type AfterLoss,
  type AuthorityRecord,
  type Base,
  type CheckpointRef,
  type Conflict,
  compareCheckpoints,
  type RecoveryPolicy,
  type SessionId,
  type SignedBytes,
  sameSession,
} from "./record.ts";

interface ItemBase {
  readonly agentId: string;
  /** From the genesis whose digest is the agent's id; `undefined` where it was not shown. */
  readonly genesis: { readonly name: string; readonly recoveryPolicy: RecoveryPolicy } | undefined;
}

/** A grant that the host holds, and what it knows of the agent. */
export interface GrantItem extends ItemBase {
  readonly kind: "grant";
  /** What the grant says; `undefined` when this registry's key has not signed it, or not for this agent. */
  readonly grant: (Term & { readonly session: SessionId; readonly incarnation: string }) | undefined;
  readonly head: CheckpointRef;
  readonly bases: readonly Base[];
  readonly unconfirmed: CheckpointRef | undefined;
  readonly forced: Term | undefined;
  readonly afterLoss: AfterLoss | undefined;
  /** Of the record as the host has read it last; what it is given is above that. */
  readonly revision: bigint;
}
/** A conflict that the host has read in a record of `term`. */
export interface ConflictItem extends ItemBase {
  readonly kind: "conflict";
  readonly term: Term;
  readonly conflict: Conflict;
}
/** A termination that the host holds. */
export interface TerminationItem extends ItemBase {
  readonly kind: "termination";
  /** What it says; `undefined` when this registry's key has not signed it, or not for this agent. */
  readonly termination: Term | undefined;
  readonly signed: SignedBytes;
}

export type ReassertItem = GrantItem | ConflictItem | TerminationItem;

export interface ReassertFacts {
  readonly mark: { readonly incarnation: string; readonly quarantine: boolean };
  /** Who brings the items back, and the very incarnation from which that session was brought over. */
  readonly session: SessionId;
  readonly from: string;
}

export type ReassertRefusal =
  | "RECOVERY_REQUIRED"
  | "BAD_GRANT"
  | "BAD_GENESIS"
  | "STALE_INCARNATION"
  | "NOT_OWNER"
  | "TERMINATED"
  | "DIVERGENT_LINEAGE"
  | "STALE_CHECKPOINT";

export type ReassertDecision =
  /** Written; with `sign`, the grant is given anew under the present incarnation. */
  | { readonly kind: "rebuilt"; readonly record: AuthorityRecord; readonly sign: "grant" | undefined }
  /** Known already: nothing is written. */
  | { readonly kind: "answered"; readonly record: AuthorityRecord }
  /** Two things that cannot both be true: what is written stops the agent (EI-7). */
  | { readonly kind: "violation"; readonly record: AuthorityRecord }
  | {
      readonly kind: "refused";
      readonly code: ReassertRefusal;
      /** As it is; with `write`, as it must be stored: confirmed under this incarnation, but not to tick. */
      readonly record: AuthorityRecord | undefined;
      readonly write: boolean;
    };

export function reassert(
  record: AuthorityRecord | undefined,
  item: ReassertItem,
  facts: ReassertFacts,
): ReassertDecision {
  // After quarantine there is one way only, GA-9.
  if (!facts.mark.quarantine) return refused("RECOVERY_REQUIRED", record);
  switch (item.kind) {
    case "grant":
      return grantBack(record, item, facts);
    case "conflict":
      return conflictBack(record, item, facts);
    case "termination":
      return terminationBack(record, item, facts);
  }
}

/** A session as the store has it. */
export interface RecordedSession {
  readonly incarnation: string;
  readonly generation: bigint;
  readonly closed: boolean;
}

export type ReassertedSession =
  | { readonly kind: "brought-over"; readonly generation: bigint }
  | { readonly kind: "refused"; readonly code: "QUARANTINE_OVER" | "SESSION_VOID" | "STALE_INCARNATION" };

/**
 * GA-7: counts as a renewal. Closed is closed, under whatever incarnation: void is for ever (SL-2). `generation` is the one
 * that the host was last answered, `from` the incarnation that it comes from.
 */
export function reassertSession(
  recorded: RecordedSession | undefined,
  claim: { readonly generation: bigint; readonly from: string },
  mark: { readonly incarnation: string; readonly quarantine: boolean },
): ReassertedSession {
  if (!mark.quarantine) return { kind: "refused", code: "QUARANTINE_OVER" };
  if (claim.from === mark.incarnation) return { kind: "refused", code: "STALE_INCARNATION" };
  if (recorded?.closed === true) return { kind: "refused", code: "SESSION_VOID" };
  return { kind: "brought-over", generation: larger(recorded?.generation ?? 0n, claim.generation) + 1n };
}

function grantBack(record: AuthorityRecord | undefined, item: GrantItem, facts: ReassertFacts): ReassertDecision {
  const { grant, genesis } = item;
  const { mark, session } = facts;
  if (grant === undefined) return refused("BAD_GRANT", record);
  if (grant.incarnation !== facts.from || grant.incarnation === mark.incarnation) {
    return refused("STALE_INCARNATION", record); // GA-8: one that outlived two losses proves nothing
  }
  if (!sameSession(grant.session, session)) return refused("NOT_OWNER", record);
  if (genesis === undefined) return refused("BAD_GENESIS", record);
  if (!isSound(item, grant)) return refused("STALE_CHECKPOINT", record);
  if (record === undefined) return rebuilt(record, item, { grant, genesis, facts });

  if (record.terminated !== undefined) return refused("TERMINATED", record);
  const order = compareTerms(grant, record);
  const mine = sameSession(record.owner, session);
  if (record.incarnation === mark.incarnation) {
    if (order < 0) return refused("NOT_OWNER", record);
    if (order === 0 && mine) {
      return record.conflict === undefined ? { kind: "answered", record } : refused("DIVERGENT_LINEAGE", record);
    }
    return stopped(record, grant, clash(record, item.head)); // a higher major, or one major given twice
  }
  if (order < 0) return refused("NOT_OWNER", record);
  if (order === 0) {
    const unowned = record.owner === undefined && record.conflict !== undefined;
    if (!mine && !unowned) return refused("NOT_OWNER", record);
    if (record.conflict !== undefined) return conflicting(record, session, mark.incarnation);
    if (record.state === "RETIRED" || record.declared) return refused("RECOVERY_REQUIRED", record); // GA-8
  }
  const other = findDivergence(record, item);
  if (other !== undefined) return stopped(record, grant, clash(record, other));
  return rebuilt(record, item, { grant, genesis, facts });
}

/** What the host says fits together: the head is on the lineage that it names, of no later major than the grant's. */
function isSound({ head, bases, unconfirmed, forced, afterLoss }: GrantItem, term: Term): boolean {
  if (compareTerms(head, term) > 0) return false;
  const [newest] = bases;
  if (unconfirmed !== undefined) {
    if (compareTerms(unconfirmed, term) >= 0 || (newest !== undefined && compareTerms(newest, term) >= 0)) return false;
    return afterLoss !== undefined || standing(bases, head, unconfirmed, { forced }) === "on-lineage";
  }
  if (newest === undefined || !sameTerm(newest, term)) return false;
  return standing(bases, head, head, { forced }) === "on-lineage";
}

/** EI-11: a checkpoint in which the record and the host contradict each other. */
function findDivergence(record: AuthorityRecord, item: GrantItem): CheckpointRef | undefined {
  const forced = later(record.forced, item.forced);
  return [item.head, ...item.bases.map(({ startedFrom }) => startedFrom)].find(
    (ref) => standing(record.bases, record.head, ref, { forced }) === "divergent",
  );
}

function rebuilt(
  record: AuthorityRecord | undefined,
  item: GrantItem,
  {
    grant,
    genesis,
    facts,
  }: {
    readonly grant: NonNullable<GrantItem["grant"]>;
    readonly genesis: NonNullable<GrantItem["genesis"]>;
    readonly facts: ReassertFacts;
  },
): ReassertDecision {
  const { agentId, bases, unconfirmed, afterLoss } = item;
  const { era, major, session } = grant;
  // A report may have overtaken what the host remembers of its own major; the newer of the two is what is known.
  const overtaken =
    record !== undefined &&
    sameTerm(record, grant) &&
    compareCheckpoints(record.head, item.head) > 0 &&
    standing(bases, item.head, record.head, item) === "on-lineage";
  const head = overtaken ? record.head : item.head;
  return {
    kind: "rebuilt",
    sign: "grant",
    record: {
      agentId,
      name: genesis.name,
      recoveryPolicy: genesis.recoveryPolicy,
      incarnation: facts.mark.incarnation,
      revision: larger(record?.revision ?? 0n, item.revision) + 1n,
      state: "ACTIVE_OWNER",
      reason: undefined,
      era,
      major,
      owner: session,
      handoff: undefined,
      head,
      bases,
      unconfirmed,
      // No command of §4 was done.
      lastCommand: "",
      conflict: undefined,
      forced: later(record?.forced, item.forced),
      afterLoss: unconfirmed === undefined ? undefined : afterLoss,
      declared: false,
      terminated: undefined,
      grant: undefined,
    },
  };
}

/** The conflict of the same major survives: the record is confirmed as the session's, and does not tick. */
function conflicting(record: AuthorityRecord, owner: SessionId, incarnation: string): ReassertDecision {
  const after: AuthorityRecord = {
    ...stoppedBy(record),
    incarnation,
    owner,
    revision: record.revision + 1n,
    lastCommand: "",
  };
  return { kind: "refused", code: "DIVERGENT_LINEAGE", record: after, write: true };
}

function conflictBack(
  record: AuthorityRecord | undefined,
  item: ConflictItem,
  { mark, from }: ReassertFacts,
): ReassertDecision {
  const { term, conflict } = item;
  // The conflict is about checkpoints that were there when the record was of `term`.
  if (from === mark.incarnation) return refused("STALE_INCARNATION", record);
  if (conflict.known === conflict.offered || compareTerms(conflict, term) > 0)
    return refused("STALE_CHECKPOINT", record);
  if (record === undefined) {
    const head = { era: conflict.era, major: conflict.major, tick: conflict.tick, digest: conflict.known };
    return { kind: "rebuilt", sign: undefined, record: { ...bare(item, { term, from, head }), conflict } };
  }
  if (record.terminated !== undefined) return { kind: "answered", record };
  const order = compareTerms(term, record);
  if (order < 0 || (order === 0 && record.conflict !== undefined)) return { kind: "answered", record };
  if (record.incarnation === mark.incarnation) return stopped(record, term, conflict);
  return {
    kind: "rebuilt",
    sign: undefined,
    record: {
      ...stoppedBy({ ...record, conflict }),
      ...pick(term),
      owner: order === 0 ? record.owner : undefined,
      revision: record.revision + 1n,
      lastCommand: "",
    },
  };
}

function terminationBack(
  record: AuthorityRecord | undefined,
  item: TerminationItem,
  { from }: ReassertFacts,
): ReassertDecision {
  const { termination, signed } = item;
  if (termination === undefined) return refused("BAD_GRANT", record);
  if (record === undefined) {
    const head = { ...pick(termination), tick: 0n, digest: unknownDigest };
    const created = bare(item, { term: termination, from, head });
    return { kind: "rebuilt", sign: undefined, record: { ...created, state: "RETIRED", terminated: signed } };
  }
  if (record.terminated !== undefined) return { kind: "answered", record };
  return {
    kind: "rebuilt",
    sign: undefined,
    record: {
      ...record,
      ...(compareTerms(termination, record) > 0 ? pick(termination) : {}),
      state: "RETIRED",
      reason: undefined,
      handoff: undefined,
      terminated: signed,
      revision: record.revision + 1n,
      lastCommand: "",
    },
  };
}

/** Where a terminated agent's checkpoints are not known: none has this digest. */
const unknownDigest = "0".repeat(64);

/** A record of an agent of which only a conflict or a termination is known. It is of the former incarnation: nobody confirmed it. */
function bare(
  { agentId, genesis }: ItemBase,
  { term, from, head }: { readonly term: Term; readonly from: string; readonly head: CheckpointRef },
): AuthorityRecord {
  return {
    agentId,
    name: genesis?.name ?? "",
    recoveryPolicy: genesis?.recoveryPolicy ?? "strict",
    incarnation: from,
    revision: 1n,
    state: "RECOVERY_REQUIRED",
    reason: undefined,
    ...pick(term),
    owner: undefined,
    handoff: undefined,
    head,
    bases: [],
    unconfirmed: undefined,
    lastCommand: "",
    conflict: undefined,
    forced: undefined,
    afterLoss: undefined,
    declared: false,
    terminated: undefined,
    grant: undefined,
  };
}

/**
 * EI-7: the agent stops under a major above both, which nobody was given. Its owner is told NOT_OWNER by its next report and
 * stays in the record, so that an operator's choice waits until that session is void or has declared itself stopped.
 */
function stopped(record: AuthorityRecord, term: Term, conflict: Conflict): ReassertDecision {
  const { era, major } = compareTerms(term, record) > 0 ? term : record;
  return {
    kind: "violation",
    record: {
      ...stoppedBy({ ...record, conflict: record.conflict ?? conflict }),
      era,
      major: major + 1n,
      grant: undefined,
      revision: record.revision + 1n,
      lastCommand: "",
    },
  };
}

function stoppedBy(record: AuthorityRecord): AuthorityRecord {
  return { ...record, state: "RECOVERY_REQUIRED", reason: undefined, handoff: undefined, declared: false };
}

/** What is written down of a contradiction: the checkpoint that was shown, and the head that was known. */
function clash({ head, bases }: AuthorityRecord, shown: CheckpointRef): Conflict {
  const known = [head, ...bases.map(({ startedFrom }) => startedFrom)].find(
    (ref) => sameTerm(ref, shown) && ref.tick === shown.tick,
  );
  return { ...pick(shown), tick: shown.tick, known: (known ?? head).digest, offered: shown.digest };
}

function later(a: Term | undefined, b: Term | undefined): Term | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareTerms(a, b) >= 0 ? a : b;
}

function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}

function pick({ era, major }: Term): Term {
  return { era, major };
}

function refused(code: ReassertRefusal, record: AuthorityRecord | undefined): ReassertDecision {
  return { kind: "refused", code, record, write: false };
}
