// What may be written about an agent, given what was written before. Pure; the store asks before every write, so no path
// through the host can do otherwise.
//
// T-16    A host that has begun to hand an agent over, or gives it up, or has done so, writes no checkpoint of that term.
//         A newer term's is somebody else's, which is held as a replica.
// GH-1    A term that was relinquished is never taken up again.
// Final   Nothing follows `terminated`.

import { Fault } from "@godwit/common/fault";
import { compareTerms, formatTerm, type Term } from "@godwit/common/lease";
import type { JournalEntry } from "./journal.ts";
import type { StoredAgent } from "./types.ts";

type Known = Pick<StoredAgent, "agentId" | "journal" | "newestRelinquished"> | undefined;

/** Why `next` may not become the journal entry of the agent; `undefined` when it may. */
export function journalRefusal(known: Known, next: JournalEntry): Fault | undefined {
  if (known === undefined) return undefined;
  const { agentId, journal, newestRelinquished } = known;
  if (journal.phase === "terminated" && next.phase !== "terminated") return new Fault({ code: "TERMINATED", agentId });
  if (newestRelinquished === undefined || (next.phase !== "owner" && next.phase !== "begun")) return undefined;
  if (compareTerms(next, newestRelinquished) > 0) return undefined;
  const reason = `this host has relinquished term ${formatTerm(newestRelinquished)} and cannot take up ${formatTerm(next)}`;
  return new Fault({ code: "AGENT_NOT_RUNNING", agentId, reason });
}

/**
 * Why a checkpoint of `term` that is not held yet may not be written; `undefined` when it may. `next` is the journal entry
 * of the same unit: one that leaves the phase which forbids it, for one that does not, lifts that.
 */
export function checkpointRefusal(known: Known, next: JournalEntry | undefined, term: Term): Fault | undefined {
  if (known === undefined) return undefined;
  const { agentId, journal } = known;
  if (journal.phase === "terminated") return new Fault({ code: "TERMINATED", agentId });
  const barred = termThatIsOver(journal);
  if (barred === undefined || compareTerms(term, barred) > 0) return undefined;
  if (next !== undefined && termThatIsOver(next) === undefined) return undefined;
  const reason = `it is ${journal.phase} under term ${formatTerm(barred)}, in which this host writes no more checkpoints`;
  return new Fault({ code: "AGENT_NOT_RUNNING", agentId, reason });
}

/** The newest term that was ever relinquished, once `next` is written. */
export function relinquishedAfter(known: Known, next: JournalEntry): Term | undefined {
  const before = known?.newestRelinquished;
  if (next.phase !== "relinquished") return before;
  if (before !== undefined && compareTerms(before, next) >= 0) return before;
  return { era: next.era, major: next.major };
}

function termThatIsOver(entry: JournalEntry): Term | undefined {
  switch (entry.phase) {
    case "begun":
    case "relinquished":
    case "retired":
    case "giving-up":
      return entry;
    default:
      return undefined;
  }
}
