// A host's local view of its right to tick one agent: the protocol's states (§4), as a pure machine.
//
// GA-1  Ticks only in ACTIVE_OWNER, with a confirmed base, under a grant of this session, before the deadline of a lease of
//       the grant's incarnation.
// GA-2  `mayTick` is asked before the tick and again before its result is committed.
// GA-4  In doubt: RECOVERY_REQUIRED. Neither ticks nor checkpoints; the registry is asked.
// GH-1  The last safe moment is the write of "relinquished": before it a revert brings the same term back, after it only a
//       newer term does. A host never takes up a term that it has relinquished.
// GA-8  What a host has sent `release`, `recover`, `declare_recovery` or `terminate` for, or relinquished, it never reasserts
//       under that term, and it takes no grant that arrives for another incarnation than its lease's.

import { compareTerms, formatTerm, type Term } from "./epoch.ts";
import { type RetiredReason, type SessionId, sameSession } from "./record.ts";
import { type ClockReading, covers, reassertsFrom, type SessionLease } from "./session-lease.ts";

/** What the registry granted, as far as the right to tick goes. */
export interface TenureGrant extends Term {
  readonly session: SessionId;
  readonly incarnation: string;
}

/** Why a host is in doubt; for people and for tests. */
export type Doubt =
  | "restarted"
  | "session-void"
  | "ambiguous-handoff"
  | "refused-after-token"
  | "outcome-unknown"
  | "lost-grant"
  | "divergent-lineage";

export type Tenure = {
  /** The newest term that this host has ever given up; it stays, whatever comes after (GH-1). */
  readonly relinquished: Term | undefined;
  /** The newest term under which a command was sent that may have ended it; it stays too (GA-8). */
  readonly spent?: Term | undefined;
} & (
  | { readonly kind: "ACTIVE_OWNER"; readonly grant: TenureGrant; readonly baseConfirmed: boolean }
  | { readonly kind: "HANDOFF_INITIATED"; readonly grant: TenureGrant; readonly handoffId: string }
  | { readonly kind: "HANDOFF_PENDING"; readonly grant: TenureGrant; readonly handoffId: string }
  | {
      readonly kind: "RECOVERY_REQUIRED";
      readonly doubt: Doubt;
      /** The term under which it may still go on after an answered revert; `undefined` when there is no such way. */
      readonly revertible: TenureGrant | undefined;
    }
  | { readonly kind: "RETIRED"; readonly why: RetiredWhy }
);

/** Why this host does not run the agent any more. */
export type RetiredWhy = "migrated" | "superseded" | "terminated" | RetiredReason;

export type TenureEvent =
  /** The registry answered `acquire`, `claim` or `recover`. */
  | { readonly kind: "granted"; readonly grant: TenureGrant; readonly baseConfirmed: boolean }
  /** The registry answered the `report_head` that names the base. */
  | { readonly kind: "base-confirmed" }
  | { readonly kind: "freeze"; readonly handoffId: string }
  /** The registry answered `revert_handoff`, or `begin_handoff` cannot have been sent. */
  | { readonly kind: "reverted" }
  /** "relinquished" is in the journal. */
  | { readonly kind: "relinquished" }
  | { readonly kind: "doubt"; readonly doubt: Doubt }
  /** A command that may end the present term is about to be sent; told before, since it may arrive though nothing else does. */
  | { readonly kind: "sending"; readonly command: "release" | "recover" | "declare_recovery" | "terminate" }
  /** The registry answered `reassert` with the grant of the same term, given anew: whatever handoff was open is dead (GA-7). */
  | { readonly kind: "reasserted"; readonly grant: TenureGrant }
  /** The record names another owner, or this host gave the agent up. */
  | { readonly kind: "retired"; readonly why: RetiredWhy };

/** A step that a state cannot hear: a bug of the caller, not an expected failure. */
export class IllegalStep extends Error {
  override readonly name: string = "IllegalStep";
}

/** The start of a restarted host (GA-5) or of one that has not been granted anything yet. */
export const untrusted: Tenure = {
  kind: "RECOVERY_REQUIRED",
  doubt: "restarted",
  revertible: undefined,
  relinquished: undefined,
};

export type TickRight =
  | { readonly kind: "may" }
  | { readonly kind: "may-not"; readonly because: "not-owner" | "base-unconfirmed" | "lease-lapsed" };

export function mayTick(tenure: Tenure, lease: SessionLease, session: SessionId, now: ClockReading): TickRight {
  if (tenure.kind !== "ACTIVE_OWNER") return { kind: "may-not", because: "not-owner" };
  const { grant } = tenure;
  if (!sameSession(grant.session, session)) return { kind: "may-not", because: "not-owner" };
  if (!tenure.baseConfirmed) return { kind: "may-not", because: "base-unconfirmed" };
  return covers(lease, grant, now) ? { kind: "may" } : { kind: "may-not", because: "lease-lapsed" };
}

export type ReassertRight =
  | { readonly kind: "may"; readonly grant: TenureGrant }
  | {
      readonly kind: "may-not";
      readonly because: "no-grant" | "given-up" | "another-session" | "another-incarnation" | "lease-lapsed";
    };

/** GA-8: whether the host's grant may be reasserted under the incarnation `to`. Asked just before each sending. */
export function mayReassert(
  tenure: Tenure,
  {
    lease,
    session,
    to,
    now,
  }: {
    readonly lease: SessionLease;
    readonly session: SessionId;
    readonly to: string;
    readonly now: ClockReading;
  },
): ReassertRight {
  const grant = heldGrant(tenure);
  if (grant === undefined) return { kind: "may-not", because: "no-grant" };
  if (isGivenUp(tenure, grant)) return { kind: "may-not", because: "given-up" };
  if (!sameSession(grant.session, session)) return { kind: "may-not", because: "another-session" };
  const from = reassertsFrom(lease, to, now);
  if (from === undefined) return { kind: "may-not", because: "lease-lapsed" };
  if (grant.incarnation !== from || from === to) return { kind: "may-not", because: "another-incarnation" };
  return { kind: "may", grant };
}

/** GA-8: whether a grant that has arrived may be taken up: it is of this session, and of the lease's incarnation. */
export function mayTake(grant: TenureGrant, lease: SessionLease, session: SessionId): boolean {
  return lease.kind === "open" && grant.incarnation === lease.incarnation && sameSession(grant.session, session);
}

export function stepTenure(tenure: Tenure, event: TenureEvent): Tenure {
  switch (event.kind) {
    case "granted":
      return granted(tenure, event.grant, event.baseConfirmed);
    case "base-confirmed":
      if (tenure.kind !== "ACTIVE_OWNER") throw illegal(tenure, event);
      return { ...tenure, baseConfirmed: true };
    case "freeze":
      if (tenure.kind !== "ACTIVE_OWNER" || !tenure.baseConfirmed) throw illegal(tenure, event);
      return { ...kept(tenure), kind: "HANDOFF_INITIATED", grant: tenure.grant, handoffId: event.handoffId };
    case "reverted":
      return revertHandoff(tenure);
    case "relinquished":
      if (tenure.kind !== "HANDOFF_INITIATED") throw illegal(tenure, event);
      return {
        kind: "HANDOFF_PENDING",
        grant: tenure.grant,
        handoffId: tenure.handoffId,
        ...kept(tenure),
        relinquished: { era: tenure.grant.era, major: tenure.grant.major },
      };
    case "doubt":
      return inDoubt(tenure, event.doubt);
    case "sending": {
      const grant = heldGrant(tenure);
      if (grant === undefined) return tenure;
      return { ...tenure, spent: newer(tenure.spent, { era: grant.era, major: grant.major }) };
    }
    case "reasserted":
      return reasserted(tenure, event);
    case "retired":
      return { ...kept(tenure), kind: "RETIRED", why: event.why };
  }
}

/** The way back before anything was relinquished (GH-1); refuses afterwards. */
export function revertHandoff(tenure: Tenure): Tenure {
  const active = { ...kept(tenure), kind: "ACTIVE_OWNER", baseConfirmed: true } as const;
  if (tenure.kind === "HANDOFF_INITIATED") return { ...active, grant: tenure.grant };
  if (tenure.kind === "RECOVERY_REQUIRED" && tenure.revertible !== undefined) {
    return { ...active, grant: tenure.revertible };
  }
  throw new IllegalStep(`reverted: not from ${tenure.kind}`);
}

function granted(tenure: Tenure, grant: TenureGrant, baseConfirmed: boolean): Tenure {
  const { relinquished } = tenure;
  if (relinquished !== undefined && compareTerms(grant, relinquished) <= 0) {
    throw new IllegalStep(
      `granted: ${formatTerm(grant)} is not newer than the relinquished ${formatTerm(relinquished)}`,
    );
  }
  if (tenure.kind === "HANDOFF_INITIATED") throw new IllegalStep("granted: a handoff is open");
  if (tenure.kind === "ACTIVE_OWNER" && compareTerms(grant, tenure.grant) < 0) {
    throw new IllegalStep(`granted: ${formatTerm(grant)} is older than ${formatTerm(tenure.grant)}`);
  }
  return { ...kept(tenure), kind: "ACTIVE_OWNER", grant, baseConfirmed };
}

function inDoubt(tenure: Tenure, doubt: Doubt): Tenure {
  if (tenure.kind === "RETIRED") return tenure;
  const sameTermStays = doubt === "outcome-unknown" || doubt === "lost-grant";
  const held = tenure.kind === "ACTIVE_OWNER" && tenure.baseConfirmed ? tenure.grant : undefined;
  const begun = tenure.kind === "HANDOFF_INITIATED" ? tenure.grant : undefined;
  const before = tenure.kind === "RECOVERY_REQUIRED" ? tenure.revertible : undefined;
  return {
    kind: "RECOVERY_REQUIRED",
    doubt,
    revertible: sameTermStays ? (held ?? begun ?? before) : undefined,
    ...kept(tenure),
  };
}

/** GA-7: the same right, under the new incarnation. */
function reasserted(tenure: Tenure, event: TenureEvent & { kind: "reasserted" }): Tenure {
  const { grant } = event;
  const before = heldGrant(tenure);
  if (before === undefined || isGivenUp(tenure, grant)) throw illegal(tenure, event);
  if (compareTerms(before, grant) !== 0 || !sameSession(before.session, grant.session)) throw illegal(tenure, event);
  const baseConfirmed = tenure.kind !== "ACTIVE_OWNER" || tenure.baseConfirmed;
  return { ...kept(tenure), kind: "ACTIVE_OWNER", grant, baseConfirmed };
}

/** The grant under which this host ticks, or may tick again without a new one. */
function heldGrant(tenure: Tenure): TenureGrant | undefined {
  switch (tenure.kind) {
    case "ACTIVE_OWNER":
    case "HANDOFF_INITIATED":
    case "HANDOFF_PENDING":
      return tenure.grant;
    case "RECOVERY_REQUIRED":
      return tenure.revertible;
    case "RETIRED":
      return undefined;
  }
}

/** Whether a term was relinquished, or something was sent that may have ended it. */
function isGivenUp({ relinquished, spent }: Tenure, term: Term): boolean {
  return [relinquished, spent].some((gone) => gone !== undefined && compareTerms(term, gone) <= 0);
}

function newer(a: Term | undefined, b: Term): Term {
  return a !== undefined && compareTerms(a, b) > 0 ? a : b;
}

/** What every step passes on. */
function kept({ relinquished, spent }: Tenure): Pick<Tenure, "relinquished" | "spent"> {
  return spent === undefined ? { relinquished } : { relinquished, spent };
}

function illegal(tenure: Tenure, event: TenureEvent): IllegalStep {
  return new IllegalStep(`${event.kind}: not in ${tenure.kind}`);
}
