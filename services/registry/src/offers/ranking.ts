// Which holders an agent is offered to, and in which order (§8). Pure.

import { type AuthorityRecord, compareCheckpoints, standing } from "@godwit/common/lease";
import type { StoredHolder } from "../store/registry-store.ts";

/** Whether anybody may take the agent up without being asked: otherwise it waits, or its owner lives. */
export function isOfferable(record: AuthorityRecord, { ownerVoid }: { readonly ownerVoid: boolean }): boolean {
  if (record.terminated !== undefined || record.conflict !== undefined) return false;
  if (record.state !== "RETIRED") return ownerVoid;
  return record.reason === "drained" || record.reason === "cannot-run" || record.reason === "forced";
}

/**
 * Live holders of acceptable checkpoints, newest first. Under `strict` the record's head or newer; under `latest` only the
 * newest that is announced, since an older one is refused while that one's holder lives. Draining hosts are left out.
 */
export function rankHolders(
  record: AuthorityRecord,
  holders: readonly StoredHolder[],
  { draining }: { readonly draining: ReadonlySet<string> },
): readonly StoredHolder[] {
  const onLineage = holders
    .filter(({ checkpoint }) => standing(record.bases, record.head, checkpoint) === "on-lineage")
    .toSorted((a, b) => compareCheckpoints(b.checkpoint, a.checkpoint));
  const [newest] = onLineage;
  if (newest === undefined) return [];
  const atLeast = record.recoveryPolicy === "strict" ? record.head : newest.checkpoint;
  return onLineage.filter(
    ({ session, checkpoint }) => compareCheckpoints(checkpoint, atLeast) >= 0 && !draining.has(session.hostId),
  );
}
