// Which holders an agent is offered to, and in which order (§8). Pure.

import { type AuthorityRecord, compareCheckpoints, lossOf, standingUnder } from "@godwit/common/lease";
import type { StoredHolder } from "../store/registry-store.ts";

/** The present mark, as far as it says what the store forgot (GA-9). */
export interface PresentMark {
  readonly incarnation: string;
  readonly counter: bigint;
}

/**
 * Whether anybody may take the agent up without being asked: otherwise it waits, or its owner lives. Nobody owns what was not
 * confirmed under the present incarnation (GA-9).
 */
export function isOfferable(
  record: AuthorityRecord,
  { ownerVoid, mark }: { readonly ownerVoid: boolean; readonly mark: PresentMark },
): boolean {
  if (record.terminated !== undefined || record.conflict !== undefined) return false;
  if (record.state !== "RETIRED") return ownerVoid || record.incarnation !== mark.incarnation;
  return record.reason === "drained" || record.reason === "cannot-run" || record.reason === "forced";
}

/**
 * Live holders of acceptable checkpoints, newest first. Under `strict` the record's head or newer; under `latest` only the
 * newest that is announced, since an older one is refused while that one's holder lives. After a loss of the store both hold. Draining hosts are left out.
 */
export function rankHolders(
  record: AuthorityRecord,
  holders: readonly StoredHolder[],
  { draining, mark }: { readonly draining: ReadonlySet<string>; readonly mark: PresentMark },
): readonly StoredHolder[] {
  const onLineage = holders
    .filter(({ checkpoint }) => standingUnder(mark, record, checkpoint) === "on-lineage")
    .toSorted((a, b) => compareCheckpoints(b.checkpoint, a.checkpoint));
  const [newest] = onLineage;
  if (newest === undefined) return [];
  const isStrict = record.recoveryPolicy === "strict";
  const lost = lossOf(record, mark) !== undefined;
  const headCounts = isStrict && (!lost || compareCheckpoints(record.head, newest.checkpoint) > 0);
  const atLeast = headCounts ? record.head : newest.checkpoint;
  return onLineage.filter(
    ({ session, checkpoint }) => compareCheckpoints(checkpoint, atLeast) >= 0 && !draining.has(session.hostId),
  );
}
