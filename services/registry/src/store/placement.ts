// Where an authority record is found besides under its id: what the stores index, derived from the record alone.

import { type AuthorityRecord, isToBeTakenUp, type SessionId } from "@godwit/common/lease";

export interface Placement {
  /** For "agents of this host", in whatever state. */
  readonly ownerHostId: string | undefined;
  /** To be offered once this session is closed (§8). */
  readonly offeredWhenClosed: SessionId | undefined;
  /** To be offered already: released to be taken up. */
  readonly offeredNow: boolean;
}

const nowhere: Placement = { ownerHostId: undefined, offeredWhenClosed: undefined, offeredNow: false };

export function placementOf(record: AuthorityRecord | undefined): Placement {
  if (record === undefined) return nowhere;
  const { owner, state, reason } = record;
  // Nobody may recover these: an operator decides about a conflict, and a terminated agent never runs again.
  const recoverable = record.terminated === undefined && record.conflict === undefined;
  return {
    ownerHostId: owner?.hostId,
    offeredWhenClosed: recoverable && state !== "RETIRED" ? owner : undefined,
    offeredNow: recoverable && state === "RETIRED" && reason !== undefined && isToBeTakenUp(reason),
  };
}
