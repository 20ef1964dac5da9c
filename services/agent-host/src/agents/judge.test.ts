import type { AuthorityRecord } from "@godwit/common/lease";
import { describe, expect, test } from "vitest";
import type { HeldSession, Reading } from "../registry/ports.ts";
import type { JournalEntry } from "../storage/index.ts";
import { judge, type Situation } from "./judge.ts";

const here = { hostId: "host-a", bootId: "boot-2" };
const earlier = { hostId: "host-a", bootId: "boot-1" };
const other = { hostId: "host-b", bootId: "boot-9" };
const session: HeldSession = { id: here, secret: new Uint8Array(0), incarnation: "i", counter: 0n };
const signed = { payload: new Uint8Array(1), signature: new Uint8Array(64) };
const base = { era: 0n, major: 0n, tick: 0n, digest: "00" };

const record: AuthorityRecord = {
  agentId: "a",
  name: "n",
  incarnation: "i",
  revision: 7n,
  state: "ACTIVE_OWNER",
  reason: undefined,
  era: 0n,
  major: 3n,
  owner: here,
  handoff: undefined,
  head: base,
  bases: [{ era: 0n, major: 3n, startedFrom: base }],
  unconfirmed: undefined,
  lastCommand: "c",
  conflict: undefined,
  forced: undefined,
  afterLoss: undefined,
  declared: false,
  terminated: undefined,
  grant: signed,
  recoveryPolicy: "latest",
};

const relinquished: JournalEntry = {
  phase: "relinquished",
  bootId: "boot-2",
  era: 0n,
  major: 3n,
  handoffId: "h",
  targetHostId: "host-b",
  token: signed,
  checkpointDigest: "00",
  tick: 9n,
};
const claiming: JournalEntry = {
  phase: "claiming",
  bootId: "boot-1",
  commandId: "c",
  handoffId: "h",
  sourceHostId: "host-b",
  era: 0n,
  major: 2n,
  token: signed,
  checkpointDigest: "00",
};
const owner: JournalEntry = { phase: "owner", bootId: "boot-2", era: 0n, major: 3n, grant: signed };

function look(changes: Partial<AuthorityRecord>, situation: Partial<Situation>, ownerVoid = false) {
  const reading: Reading = { kind: "record", record: { ...record, ...changes }, ownerVoid };
  return judge(reading, {
    session,
    journal: owner,
    relinquished: undefined,
    taken: undefined,
    asked: false,
    mayCloseEarlier: () => false,
    ...situation,
  });
}

describe("judge", () => {
  test("GA-4: a registry that does not answer settles nothing", () => {
    const verdict = judge(
      { kind: "unreachable", cause: new Error("down") },
      {
        session,
        journal: relinquished,
        relinquished: record,
        taken: undefined,
        asked: true,
        mayCloseEarlier: () => true,
      },
    );
    expect(verdict).toEqual({ kind: "wait", why: "registry-unreachable" });
  });

  test("GA-9: without a record nothing is recovered, only an acquisition is repeated", () => {
    const situation = { session, relinquished: undefined, taken: undefined, asked: true, mayCloseEarlier: () => true };
    const acquiring: JournalEntry = { phase: "acquiring", commandId: "c", bootId: "boot-2" };
    expect(judge({ kind: "no-record" }, { ...situation, journal: acquiring }).kind).toBe("acquire");
    expect(judge({ kind: "no-record" }, { ...situation, journal: owner })).toEqual({ kind: "wait", why: "no-record" });
  });

  test.each(["ACTIVE_OWNER", "HANDOFF_INITIATED", "RECOVERY_REQUIRED"] as const)(
    "GH-3: the owner is this session, in state %s: recover",
    (state) => {
      expect(look({ state }, { journal: relinquished, relinquished: record }).kind).toBe("recover");
    },
  );

  test("GH-3: the owner is the target: the migration succeeded, the local copy is a replica", () => {
    const verdict = look({ owner: other, major: 4n }, { journal: relinquished, relinquished: record });
    expect(verdict).toMatchObject({ kind: "retire", why: "migrated" });
  });

  test("GA-5: another host's session is the owner: a replica, even when that session is void", () => {
    expect(look({ owner: other }, {}, true)).toMatchObject({ kind: "retire", why: "superseded" });
  });

  test("§4, §8: who was asked and came second holds a replica again; only a recover that may still arrive is waited for", () => {
    const on = { era: 0n, major: 2n };
    const journal: JournalEntry = { phase: "recovering", bootId: "boot-2", commandId: "mine", base, on };
    expect(look({ owner: other }, { journal, asked: true })).toMatchObject({ kind: "retire", why: "superseded" });
    const before = { owner: other, ...on };
    expect(look(before, { journal, asked: true })).toEqual({ kind: "wait", why: "owner-not-void" });
    expect(look({ owner: other }, { journal, asked: true }, true).kind).toBe("recover");
  });

  test("GA-5: an earlier session of this host is waited for until it is void", () => {
    expect(look({ owner: earlier }, {})).toEqual({ kind: "wait", why: "earlier-session-not-void" });
    expect(look({ owner: earlier }, {}, true).kind).toBe("recover");
  });

  test("GA-5: so it is when an operator asks for the agent", () => {
    expect(look({ owner: earlier }, { asked: true })).toEqual({ kind: "wait", why: "earlier-session-not-void" });
  });

  test("GA-5: with --trust-data-lock a session that the journal names is closed at once", () => {
    const verdict = look({ owner: earlier }, { mayCloseEarlier: (bootId) => bootId === "boot-1" });
    expect(verdict).toEqual({ kind: "close-earlier", bootId: "boot-1" });
  });

  test("GH-5: a claim that was done by a session before the crash is recovered from, not taken up", () => {
    expect(look({ owner: earlier }, { journal: claiming }, true).kind).toBe("recover");
  });

  test("GH-4: while the record shows this very handoff open, it is claimed again", () => {
    const open = {
      owner: other,
      state: "HANDOFF_INITIATED" as const,
      major: 2n,
      handoff: { id: "h", targetHostId: "host-a" },
    };
    expect(look(open, { journal: claiming }).kind).toBe("claim");
    expect(look({ ...open, handoff: { id: "another", targetHostId: "host-a" } }, { journal: claiming }).kind).toBe(
      "retire",
    );
    expect(look({ ...open, major: 3n }, { journal: claiming }).kind).toBe("retire");
  });

  test("§4: a command of ours that the record shows done is taken up", () => {
    expect(look({}, { journal: claiming }).kind).toBe("take-up");
    const recovering: JournalEntry = { phase: "recovering", bootId: "boot-2", commandId: "c", base };
    expect(look({}, { journal: recovering }).kind).toBe("take-up");
  });

  test("§4: a recover that may still arrive is sent again: the term that it would end is not taken up", () => {
    const sent: JournalEntry = { phase: "recovering", bootId: "boot-2", commandId: "on-its-way", base };
    expect(look({}, { journal: sent }).kind).toBe("recover");
    expect(look({}, { journal: { ...sent, on: { era: 0n, major: 3n } } }).kind).toBe("recover");
    // Another command of ours was done meanwhile: the record's term is above the one that it was sent on.
    expect(look({}, { journal: { ...sent, on: { era: 0n, major: 2n } } }).kind).toBe("take-up");
  });

  test("EI-3: a term that was taken up once is not taken up again from its base: it may have ticked since", () => {
    expect(look({}, { journal: claiming }).kind).toBe("take-up");
    expect(look({}, { journal: claiming, taken: { era: 0n, major: 3n } }).kind).toBe("recover");
    expect(look({}, { journal: claiming, taken: { era: 0n, major: 2n } }).kind).toBe("take-up");
  });

  test("GH-1: a term that was relinquished is never taken up", () => {
    const journal: JournalEntry = { phase: "recovering", bootId: "boot-2", commandId: record.lastCommand, base };
    expect(look({}, { journal }).kind).toBe("take-up");
    expect(look({}, { journal, relinquished: { era: 0n, major: 3n } }).kind).toBe("recover");
  });

  test.each([
    ["stopped", "retire"],
    ["failed", "retire"],
    ["unfunded", "retire"],
    ["drained", "recover"],
    ["cannot-run", "recover"],
  ] as const)("§3: released (%s) under an earlier session: %s", (reason, kind) => {
    expect(look({ owner: earlier, state: "RETIRED", reason }, {}).kind).toBe(kind);
  });

  test("§11: an operator's recover is the asking that a stopped agent waits for", () => {
    expect(look({ state: "RETIRED", reason: "stopped" }, { asked: true }).kind).toBe("recover");
    expect(look({ owner: other, state: "RETIRED", reason: "stopped" }, { asked: true }).kind).toBe("recover");
  });

  test("§8: an agent of another host is recovered only when that session is void, and only when asked", () => {
    expect(look({ owner: other }, { asked: true }, true).kind).toBe("recover");
    expect(look({ owner: other }, { asked: true }, false).kind).toBe("retire");
  });

  test("EI-11: a conflict stops everything", () => {
    const conflict = { era: 0n, major: 3n, tick: 5n, known: "00", offered: "11" };
    expect(look({ conflict }, { asked: true }, true)).toEqual({ kind: "wait", why: "divergent-lineage" });
  });

  test("GA-1: a record of another incarnation gives nothing", () => {
    expect(look({ incarnation: "j" }, {})).toEqual({ kind: "wait", why: "store-loss" });
  });

  test("a release whose answer was lost is sent again", () => {
    const journal: JournalEntry = {
      phase: "giving-up",
      bootId: "boot-2",
      command: "release",
      reason: "stopped",
      commandId: "c",
      era: 0n,
      major: 3n,
      grant: signed,
    };
    expect(look({}, { journal }).kind).toBe("give-up-again");
    expect(look({ state: "RETIRED", reason: "stopped" }, { journal })).toMatchObject({
      kind: "retire",
      why: "released",
    });
  });

  test("the termination is final", () => {
    expect(look({ terminated: signed }, { asked: true }).kind).toBe("terminated");
  });
});
