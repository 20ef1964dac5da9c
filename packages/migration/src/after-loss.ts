// What a host does about an agent whose record the present incarnation of the store has not confirmed, or does not have
// (protocol §9). Pure, as the judge, which is asked about every other record.
//
// GA-9  After quarantine such a record may only be recovered, by a holder of an acceptable checkpoint, whoever lives.
// §4    `acquire` belongs to the act of creating, under the incarnation that the genesis names: later it is GA-9's.

import { type AuthorityRecord, type CheckpointRef, standingUnder } from "@godwit/common/lease";
import type { JournalView, Reading } from "./judge.ts";

export interface LossSituation {
  /** Under which the present session is open; `counter` is its mark's. */
  readonly mark: { readonly incarnation: string; readonly counter: bigint };
  readonly journal: JournalView;
  /** That the agent's genesis names. */
  readonly createdUnder: string;
  /** What is held, newest first. */
  readonly held: readonly CheckpointRef[];
}

export type LossVerdict =
  /** Nothing was lost: the judge has the answer. */
  | { readonly kind: "not-lost" }
  /** `revision`: what `recover` names; 0 where there is no record. */
  | { readonly kind: "recover"; readonly revision: bigint; readonly head: CheckpointRef }
  /** It was lost, and nothing that is held here may be gone on from. */
  | { readonly kind: "wait" };

export function judgeLoss(reading: Reading, { mark, journal, createdUnder, held }: LossSituation): LossVerdict {
  if (reading.kind === "unreachable") return { kind: "not-lost" };
  if (reading.kind === "no-record") {
    if (journal.phase === "acquiring" && createdUnder === mark.incarnation) return { kind: "not-lost" };
    const [head] = held;
    // What this very incarnation made it has not lost by being a new one; somebody is still about to acquire it.
    if (head === undefined || createdUnder === mark.incarnation) return { kind: "wait" };
    return { kind: "recover", revision: 0n, head };
  }
  const { record } = reading;
  if (record.terminated !== undefined || record.incarnation === mark.incarnation) return { kind: "not-lost" };
  if (record.conflict !== undefined) return { kind: "wait" };
  const head = newestOf(record, mark, held);
  return head === undefined ? { kind: "wait" } : { kind: "recover", revision: record.revision, head };
}

/** What diverges is shown, not hidden (EI-11). */
function newestOf(
  record: AuthorityRecord,
  mark: LossSituation["mark"],
  held: readonly CheckpointRef[],
): CheckpointRef | undefined {
  return held.find((ref) => standingUnder(mark, record, ref) !== "orphan");
}
