import type { SignedBytes, Term } from "@godwit/common/lease";
import { describe, expect, test } from "vitest";
import type { JournalEntry } from "./journal.ts";
import { checkpointRefusal, journalRefusal, relinquishedAfter } from "./rules.ts";

const signed: SignedBytes = { payload: Uint8Array.of(1), signature: Uint8Array.of(2) };
const session = { bootId: "boot", commandId: "command" };
const term = { era: 0n, major: 5n };
const newer = { era: 0n, major: 6n };
const newerEra = { era: 1n, major: 0n };

const owner = (of: Term = term): JournalEntry => ({ phase: "owner", bootId: "boot", grant: signed, ...of });
const handoff = { handoffId: "handoff", targetHostId: "target" };
const begun: JournalEntry = { phase: "begun", ...session, ...handoff, ...term, grant: signed };
const relinquished: JournalEntry = {
  phase: "relinquished",
  bootId: "boot",
  ...handoff,
  ...term,
  token: signed,
  checkpointDigest: "a".repeat(64),
  tick: 9n,
};
const retired: JournalEntry = { phase: "retired", why: "migrated", ...term };
const givingUp: JournalEntry = { phase: "giving-up", ...session, command: "release", ...term, grant: signed };
const terminated: JournalEntry = { phase: "terminated", termination: signed };
const replica: JournalEntry = { phase: "replica" };

const known = (journal: JournalEntry, newestRelinquished?: Term) => ({ agentId: "agent", journal, newestRelinquished });

describe("a checkpoint", () => {
  test.each([begun, relinquished, retired, givingUp])("T-16: of its own term is refused while $phase", (journal) => {
    expect(checkpointRefusal(known(journal), undefined, term)?.code).toBe("AGENT_NOT_RUNNING");
    expect(checkpointRefusal(known(journal), undefined, { era: 0n, major: 4n })?.code).toBe("AGENT_NOT_RUNNING");
    expect(checkpointRefusal(known(journal), journal, term)?.code).toBe("AGENT_NOT_RUNNING");
  });

  test.each([begun, relinquished, retired, givingUp])(
    "of a newer term is somebody else's: held while $phase",
    (journal) => {
      expect(checkpointRefusal(known(journal), undefined, newer)).toBeUndefined();
      expect(checkpointRefusal(known(journal), undefined, newerEra)).toBeUndefined();
    },
  );

  test("T-16: going from one such phase to the next does not open a gap for it", () => {
    expect(checkpointRefusal(known(begun), relinquished, term)?.code).toBe("AGENT_NOT_RUNNING");
    expect(checkpointRefusal(known(relinquished), retired, term)?.code).toBe("AGENT_NOT_RUNNING");
  });

  test("the last one goes with the entry that ends its term", () => {
    for (const last of [begun, givingUp, retired]) {
      expect(checkpointRefusal(known(owner()), last, term)).toBeUndefined();
    }
  });

  test("a handoff that was reverted goes on", () => {
    expect(checkpointRefusal(known(begun), owner(), term)).toBeUndefined();
  });

  test("is never written once the agent is terminated", () => {
    expect(checkpointRefusal(known(terminated), undefined, newerEra)?.code).toBe("TERMINATED");
    expect(checkpointRefusal(known(terminated), replica, newerEra)?.code).toBe("TERMINATED");
  });

  test("is written while owner or replica, and for an agent that is new here", () => {
    for (const journal of [owner(), replica]) {
      expect(checkpointRefusal(known(journal, term), undefined, term)).toBeUndefined();
    }
    expect(checkpointRefusal(undefined, owner(), term)).toBeUndefined();
  });
});

describe("a journal entry", () => {
  test("GH-1: a term that was relinquished, or one before it, is never taken up again", () => {
    for (const next of [owner(), owner({ era: 0n, major: 4n }), begun]) {
      expect(journalRefusal(known(retired, term), next)?.code).toBe("AGENT_NOT_RUNNING");
    }
    expect(journalRefusal(known(retired, term), owner(newer))).toBeUndefined();
    expect(journalRefusal(known(retired, term), owner(newerEra))).toBeUndefined();
  });

  test("nothing follows terminated", () => {
    expect(journalRefusal(known(terminated), owner(newerEra))?.code).toBe("TERMINATED");
    expect(journalRefusal(known(terminated), terminated)).toBeUndefined();
  });
});

describe("the newest relinquished term", () => {
  test("is raised by relinquishing and by nothing else", () => {
    expect(relinquishedAfter(undefined, relinquished)).toEqual(term);
    expect(relinquishedAfter(known(owner()), begun)).toBeUndefined();
    for (const next of [replica, retired, owner(newer), terminated]) {
      expect(relinquishedAfter(known(relinquished, term), next)).toEqual(term);
    }
  });

  test("never falls", () => {
    expect(relinquishedAfter(known(owner(newerEra), newerEra), relinquished)).toEqual(newerEra);
    expect(relinquishedAfter(known(owner(newer), term), { ...relinquished, ...newer })).toEqual(newer);
  });
});
