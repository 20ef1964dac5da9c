// What a host does about an agent of which it is in doubt, decided from what the registry says (GA-5, GH-3, GH-5).
//
// Pure: one reading, what the journal says, and the session in; one verdict out. Where a reading does not settle a
// question the verdict is to wait and ask again, never to guess (GA-4).
//
// GA-5  Disk alone gives no right. Own earlier session: wait until it is void, then recover. Another host's: a replica.
// GH-3  Owner is this session, in whatever state: recover. Owner is another host's: the handoff succeeded, or was lost.
// GH-4  A claim may still be made while the record shows this very handoff open.
// §4    A command of ours that the record names was done: it is taken up, unless that term was relinquished.

import {
  type AuthorityRecord,
  compareTerms,
  isToBeTakenUp,
  type SessionId,
  sameSession,
  sameTerm,
  type Term,
} from "@godwit/common/lease";

/** One agent's authority as the registry has it now. */
export type Reading =
  | { readonly kind: "record"; readonly record: AuthorityRecord; readonly ownerVoid: boolean }
  | { readonly kind: "no-record" }
  | { readonly kind: "unreachable"; readonly cause: unknown };

/** What the judge reads of a host's journal entry; the host keeps more in it. */
export type JournalView =
  | { readonly phase: "acquiring" | "owner" | "begun" | "giving-up" | "replica" }
  /** The command's id, and the record's term on which it was sent; unset: not noted, or there was no record. */
  | { readonly phase: "recovering"; readonly commandId?: string; readonly on?: Term | undefined }
  | { readonly phase: "retired" | "terminated" }
  | { readonly phase: "relinquished"; readonly targetHostId: string }
  | ({ readonly phase: "claiming"; readonly handoffId: string } & Term);

export interface Situation {
  /** The session that is open now, and the store incarnation under which it was opened. */
  readonly session: { readonly id: SessionId; readonly incarnation: string };
  readonly journal: JournalView;
  /** Newest term that this host ever relinquished of this agent. */
  readonly relinquished: Term | undefined;
  /** Newest term that was taken up since this host looks after the agent: it may have ticked under it. */
  readonly taken: Term | undefined;
  /** The registry has offered the agent, or an operator asked for it. */
  readonly asked: boolean;
  /** `--trust-data-lock` and the journal names the session. */
  readonly mayCloseEarlier: (bootId: string) => boolean;
}

export type Wait =
  | "registry-unreachable"
  | "no-record"
  | "store-loss"
  | "divergent-lineage"
  | "earlier-session-not-void"
  | "owner-not-void";

export type Verdict =
  | { readonly kind: "wait"; readonly why: Wait }
  | { readonly kind: "acquire" }
  | { readonly kind: "take-up"; readonly record: AuthorityRecord }
  | { readonly kind: "claim"; readonly record: AuthorityRecord }
  | { readonly kind: "recover"; readonly record: AuthorityRecord }
  | { readonly kind: "give-up-again"; readonly record: AuthorityRecord }
  | { readonly kind: "close-earlier"; readonly bootId: string }
  /** Somebody else's, or waiting to be asked: what is held here is a replica. */
  | { readonly kind: "retire"; readonly why: "migrated" | "superseded" | "released"; readonly record: AuthorityRecord }
  | { readonly kind: "terminated"; readonly record: AuthorityRecord };

export function judge(reading: Reading, situation: Situation): Verdict {
  const { session, journal, asked } = situation;
  if (reading.kind === "unreachable") return wait("registry-unreachable");
  if (reading.kind === "no-record") return journal.phase === "acquiring" ? { kind: "acquire" } : wait("no-record");

  const { record, ownerVoid } = reading;
  if (record.terminated !== undefined) return { kind: "terminated", record };
  if (record.incarnation !== session.incarnation) return wait("store-loss");
  if (record.conflict !== undefined) return wait("divergent-lineage");
  if (sameSession(record.owner, session.id)) return ownedHere(record, situation);

  const askedFor = asked || (record.reason !== undefined && isToBeTakenUp(record.reason));
  if (record.owner?.hostId === session.id.hostId) {
    if (record.state === "RETIRED") return askedFor ? { kind: "recover", record } : released(record);
    if (ownerVoid) return { kind: "recover", record };
    const { bootId } = record.owner;
    return situation.mayCloseEarlier(bootId) ? { kind: "close-earlier", bootId } : wait("earlier-session-not-void");
  }

  if (isOpenHandoffTo(record, journal)) return { kind: "claim", record };
  if (asked && (ownerVoid || record.state === "RETIRED")) return { kind: "recover", record };
  if (asked && journal.phase === "recovering" && !isOvertaken(record, journal)) return wait("owner-not-void");
  const migrated = journal.phase === "relinquished" && journal.targetHostId === record.owner?.hostId;
  return { kind: "retire", why: migrated ? "migrated" : "superseded", record };
}

function ownedHere(record: AuthorityRecord, { journal, relinquished, taken, asked }: Situation): Verdict {
  if (record.state === "RETIRED") return asked ? { kind: "recover", record } : released(record);
  if (journal.phase === "giving-up") return { kind: "give-up-again", record };
  // What was taken up once has gone on from its base: from there again it would make another checkpoint of the same tick.
  const newTerm = [relinquished, taken].every((term) => term === undefined || compareTerms(record, term) > 0);
  if (isDone(record, journal) && newTerm && record.state === "ACTIVE_OWNER" && record.grant !== undefined) {
    return { kind: "take-up", record };
  }
  return { kind: "recover", record };
}

/**
 * §4: whether the record is what a command of ours came to. A `recover` that has not arrived leaves the record as it was, and
 * may arrive yet: whoever ticked under that term would lose it to a base that is older than what it has done meanwhile.
 */
function isDone(record: AuthorityRecord, journal: JournalView): boolean {
  switch (journal.phase) {
    case "acquiring":
      return true;
    case "claiming":
      return compareTerms(record, journal) > 0;
    case "recovering":
      return (
        (journal.commandId !== undefined && record.lastCommand === journal.commandId) ||
        (journal.on !== undefined && compareTerms(record, journal.on) > 0)
      );
    default:
      return false;
  }
}

/** §4: somebody has the agent under a newer term than the one on which our `recover` was sent, which can no longer be done. */
function isOvertaken(record: AuthorityRecord, { on }: JournalView & { phase: "recovering" }): boolean {
  return on !== undefined && compareTerms(record, on) > 0;
}

function isOpenHandoffTo(record: AuthorityRecord, journal: JournalView): boolean {
  return (
    journal.phase === "claiming" &&
    record.state === "HANDOFF_INITIATED" &&
    record.handoff?.id === journal.handoffId &&
    sameTerm(record, journal)
  );
}

function released(record: AuthorityRecord): Verdict {
  return { kind: "retire", why: "released", record };
}

function wait(why: Wait): Verdict {
  return { kind: "wait", why };
}
