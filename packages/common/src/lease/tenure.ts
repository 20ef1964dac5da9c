// A host's local view of its right to tick one agent: the protocol's states (§4), as a pure machine.
//
// GA-1  Ticks only in ACTIVE_OWNER, with a confirmed base, under a grant of this session, before the deadline of a lease of
//       the grant's incarnation.
// GA-2  `mayTick` is asked before the tick and again before its result is committed.
// GA-4  In doubt: RECOVERY_REQUIRED. Neither ticks nor checkpoints; the registry is asked.
// GH-1  The last safe moment is the write of "relinquished": before it a revert brings the same term back, after it only a
//       newer term does. A host never takes up a term that it has relinquished.

import { compareTerms, formatTerm, type Term } from "./epoch.ts";
import type { RetiredReason, SessionId } from "./record.ts";
import { type ClockReading, covers, type SessionLease } from "./session-lease.ts";

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
  if (grant.session.hostId !== session.hostId || grant.session.bootId !== session.bootId) {
    return { kind: "may-not", because: "not-owner" };
  }
  if (!tenure.baseConfirmed) return { kind: "may-not", because: "base-unconfirmed" };
  return covers(lease, grant, now) ? { kind: "may" } : { kind: "may-not", because: "lease-lapsed" };
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
        relinquished: { era: tenure.grant.era, major: tenure.grant.major },
      };
    case "doubt":
      return inDoubt(tenure, event.doubt);
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

/** What every step passes on. */
function kept({ relinquished }: Tenure): { readonly relinquished: Term | undefined } {
  return { relinquished };
}

function illegal(tenure: Tenure, event: TenureEvent): IllegalStep {
  return new IllegalStep(`${event.kind}: not in ${tenure.kind}`);
}
