// One session's lease, as its own host sees it.
//
// SL-2  `void` is final: what follows is a new session.
// SL-3  `deadlineMs` counts from before the very request that was answered, on our own monotonic clock, less a margin; no
//       clock of another machine is compared. A jump between monotonic and wall time (a suspended machine) counts as the
//       deadline having passed, until a renewal that was sent after it is answered.
// SL-4  After the deadline nothing ticks; an answered late renewal makes it live again.
// GA-1  A lease lends nothing to grants of another incarnation.
// GA-8  A session is brought over to a new incarnation only while its deadline has never passed since the last renewal under
//       the old one. That it did pass is kept, whatever is answered later: `noticeLapse` is asked before every answer is taken
//       in and before anything is reasserted. A renewal under the old incarnation makes good for it; one under the new does not.

/** A session's settings as the registry told them (SL-5). */
export interface LeaseRules {
  readonly durationMs: number;
  readonly graceMs: number;
  readonly renewEveryMs: number;
}

/** Both clocks of one host, read together. Meaningful only against another reading of the same process. */
export interface ClockReading {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export interface OpenLease {
  readonly kind: "open";
  readonly incarnation: string;
  /** On the monotonic clock. */
  readonly deadlineMs: number;
  /** Taken before the newest answered request was sent: what jumps are measured from. */
  readonly since: ClockReading;
  readonly maxJumpMs: number;
  /** The incarnation from which `reassert` brought the session over; unset: it has only known one. */
  readonly from?: string | undefined;
  /** The deadline has passed at some moment since the last renewal under `from`, or under `incarnation` without one. */
  readonly lapsed?: boolean | undefined;
}

export type SessionLease = OpenLease | { readonly kind: "void" };

export type LeaseEvent =
  | {
      /** `reasserted`: the registry answered a `reassert`, which counts as a renewal under the new incarnation (GA-7). */
      readonly kind: "renewed" | "reasserted";
      readonly incarnation: string;
      readonly sentAt: ClockReading;
      readonly rules: LeaseRules;
    }
  | { readonly kind: "refused" };

/** Protocol §11: drift margin and jump threshold are 250 ms, or 2 % of the duration if that is more. */
export function marginMs(durationMs: number): number {
  return Math.max(250, durationMs * 0.02);
}

/** A lease from the answer to `open_session`. */
export function openLease(incarnation: string, sentAt: ClockReading, rules: LeaseRules): OpenLease {
  const margin = marginMs(rules.durationMs);
  return {
    kind: "open",
    incarnation,
    deadlineMs: sentAt.monotonicMs + rules.durationMs - margin,
    since: sentAt,
    maxJumpMs: margin,
  };
}

/** Asked before every tick and again before its result is committed (GA-2). */
export function covers(lease: SessionLease, grant: { readonly incarnation: string }, now: ClockReading): boolean {
  return lease.kind === "open" && lease.incarnation === grant.incarnation && remainingMs(lease, now) > 0;
}

/** Until the host's own deadline; 0 when it has passed or the clocks have jumped apart. */
export function remainingMs(lease: SessionLease, now: ClockReading): number {
  if (lease.kind === "void" || jumped(lease, now)) return 0;
  return Math.max(0, lease.deadlineMs - now.monotonicMs);
}

/** Whether it is time to renew: counted from the sending of the newest answered request. */
export function needsRenewal(lease: SessionLease, rules: LeaseRules, now: ClockReading): boolean {
  if (lease.kind === "void") return false;
  return jumped(lease, now) || now.monotonicMs - lease.since.monotonicMs >= rules.renewEveryMs;
}

export function stepLease(lease: SessionLease, event: LeaseEvent): SessionLease {
  if (lease.kind === "void") return lease; // SL-2
  if (event.kind === "refused") return { kind: "void" };

  // Answers may arrive out of order: the one that was sent last counts, also when the incarnation changed in between.
  if (event.sentAt.monotonicMs < lease.since.monotonicMs) return lease;
  const renewed = openLease(event.incarnation, event.sentAt, event.rules);
  const lapsed = lease.lapsed === true || remainingMs(lease, event.sentAt) === 0;
  if (event.incarnation !== lease.incarnation) {
    // Brought over by anything else than a reassert, it has nothing that could be reasserted.
    return event.kind === "reasserted" ? { ...renewed, from: lease.incarnation, lapsed } : { ...renewed, lapsed: true };
  }
  return lease.from === undefined ? renewed : { ...renewed, from: lease.from, lapsed };
}

/** GA-8: the lease, with what a look at the clocks shows of it. */
export function noticeLapse(lease: SessionLease, now: ClockReading): SessionLease {
  if (lease.kind === "void" || lease.lapsed === true || remainingMs(lease, now) > 0) return lease;
  return { ...lease, lapsed: true };
}

/**
 * GA-8: the incarnation of the grants that this session may reassert under `to`; `undefined` when it may reassert nothing,
 * itself included: then the host opens a new session at once.
 */
export function reassertsFrom(lease: SessionLease, to: string, now: ClockReading): string | undefined {
  const noticed = noticeLapse(lease, now);
  if (noticed.kind === "void" || noticed.lapsed === true) return undefined;
  return noticed.incarnation === to ? noticed.from : noticed.incarnation;
}

function jumped(lease: OpenLease, now: ClockReading): boolean {
  const monotonic = now.monotonicMs - lease.since.monotonicMs;
  const wall = now.wallMs - lease.since.wallMs;
  return Math.abs(wall - monotonic) > lease.maxJumpMs;
}
