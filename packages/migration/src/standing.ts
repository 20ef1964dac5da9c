// What a record says about a claim that was sent and not granted (GH-4).

import {
  type AuthorityRecord,
  compareTerms,
  type SessionId,
  sameSession,
  sameTerm,
  type Term,
} from "@godwit/common/lease";

export type Standing =
  /** The claim was done: this session owns the agent under the next major. */
  | "ours"
  /** The claim can still be granted, or nobody knows: send it again. */
  | "open"
  /** Another major, or terminated, and the owner is no session of this host. */
  | "dead"
  /** An earlier session of this host owns it, or the record is gone: GA-5 and GA-9 have the answer. */
  | "for-recovery";

export interface ClaimedHandoff extends Term {
  readonly handoffId: string;
}

/** `session`: the one that is open now. `handoff`: id and term in the token. */
export function standingOf(record: AuthorityRecord | undefined, handoff: ClaimedHandoff, session: SessionId): Standing {
  if (record === undefined) return "for-recovery";
  if (record.owner?.hostId === session.hostId) {
    // A claim raises the major by one; whatever came after it is another story, and the recovery's to read.
    const claimed = sameTerm(record, { era: handoff.era, major: handoff.major + 1n });
    const runs = record.state === "ACTIVE_OWNER" && record.terminated === undefined;
    return claimed && runs && sameSession(record.owner, session) ? "ours" : "for-recovery";
  }
  if (record.terminated !== undefined || compareTerms(record, handoff) !== 0) return "dead";
  return "open";
}
