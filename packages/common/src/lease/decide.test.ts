import { describe, expect, test } from "vitest";
import {
  type Acquire,
  type BeginHandoff,
  type Command,
  type Decision,
  decide,
  type Facts,
  type Recover,
  type RefusalCode,
  type TokenClaims,
} from "./decide.ts";
import { type AuthorityRecord, type CheckpointRef, maxBases, type SessionId } from "./record.ts";

const owner: SessionId = { hostId: "host-a", bootId: "boot-1" };
const other: SessionId = { hostId: "host-b", bootId: "boot-1" };

const ref = (major: bigint, tick: bigint, digest = `checkpoint ${major}/${tick}`): CheckpointRef => ({
  era: 0n,
  major,
  tick,
  digest,
});

/** Started at tick 0, moved at tick 10 and again at tick 20; the present owner has reported tick 30. */
const held: AuthorityRecord = {
  agentId: "agent",
  name: "a name",
  incarnation: "inc",
  revision: 7n,
  state: "ACTIVE_OWNER",
  reason: undefined,
  era: 0n,
  major: 2n,
  owner,
  handoff: undefined,
  head: ref(2n, 30n),
  bases: [
    { era: 0n, major: 2n, startedFrom: ref(1n, 20n) },
    { era: 0n, major: 1n, startedFrom: ref(0n, 10n) },
    { era: 0n, major: 0n, startedFrom: ref(0n, 0n) },
  ],
  unconfirmed: undefined,
  lastCommand: "the one before",
  conflict: undefined,
  forced: undefined,
  afterLoss: undefined,
  declared: false,
  terminated: undefined,
  grant: undefined,
  recoveryPolicy: "latest",
};
const handingOff: AuthorityRecord = {
  ...held,
  state: "HANDOFF_INITIATED",
  handoff: { id: "handoff", targetHostId: other.hostId },
};
/** Taken over after a crash: the base of major 2 is tick 15 of major 1 and waits to be confirmed; tick 20 is known. */
const unconfirmed: AuthorityRecord = {
  ...held,
  head: ref(1n, 20n),
  bases: held.bases.slice(1),
  unconfirmed: ref(1n, 15n),
};
const conflict = { era: 0n, major: 2n, tick: 30n, known: "one", offered: "another" };
const conflicting: AuthorityRecord = { ...held, state: "RECOVERY_REQUIRED", conflict };
const terminated: AuthorityRecord = {
  ...held,
  state: "RETIRED",
  terminated: { payload: new Uint8Array([1]), signature: new Uint8Array([2]) },
};

const token: TokenClaims = {
  agentId: "agent",
  era: 0n,
  major: 2n,
  handoffId: "handoff",
  targetHostId: other.hostId,
  checkpointDigest: held.head.digest,
  tick: held.head.tick,
};

const base = { id: "this one", incarnation: "inc", agentId: "agent", caller: owner } as const;
const onRevision = { ...base, revision: 7n } as const;
const genesis = { creatorHostId: owner.hostId, incarnation: "inc", recoveryPolicy: "latest", name: "a name" } as const;
const acquire: Acquire = { ...base, kind: "acquire", genesis, head: ref(0n, 0n) };
const report = (head: CheckpointRef): Command => ({ ...base, kind: "report_head", era: 0n, major: 2n, head });
const begin = (head: CheckpointRef = ref(2n, 31n)): BeginHandoff => ({
  ...onRevision,
  kind: "begin_handoff",
  handoffId: "handoff",
  targetHostId: other.hostId,
  head,
});
const revert: Command = { ...onRevision, kind: "revert_handoff" };
const claim = (changes: Partial<TokenClaims> = {}, caller = other): Command => ({
  ...base,
  kind: "claim",
  caller,
  token: { ...token, ...changes },
});
const recover = (caller: SessionId, head: CheckpointRef): Recover => ({ ...onRevision, kind: "recover", caller, head });
const declare: Command = { ...onRevision, kind: "declare_recovery", reason: "state is in doubt" };
const release = (head?: CheckpointRef): Command => ({ ...onRevision, kind: "release", reason: "drained", head });
const terminate: Command = { ...onRevision, kind: "terminate" };

const usual: Facts = {
  mark: { incarnation: "inc", counter: 0n, quarantine: false },
  caller: "open",
  ownerVoid: false,
  announced: [],
  genesisMatches: true,
  tokenSignedByOwner: true,
};
const ownerVoid: Facts = { ...usual, ownerVoid: true };

const applied = (decision: Decision): AuthorityRecord => {
  if (decision.kind !== "applied") throw new Error(`not applied: ${JSON.stringify(decision, withBigints)}`);
  return decision.record;
};
const withBigints = (_: string, value: unknown) => (typeof value === "bigint" ? `${value}` : value);

/** Refused with this code, the record as it is, and nothing to write. */
function expectRefusal(record: AuthorityRecord | undefined, command: Command, code: RefusalCode, facts = usual): void {
  expect(decide(record, command, facts)).toEqual({ kind: "refused", code, record, write: false });
}

const raised = { revision: 8n, lastCommand: "this one" };

describe("acquire", () => {
  test("§4: makes the record, owned by the caller, at major 0 of the mark's counter, its base confirmed", () => {
    const mark = { ...usual.mark, counter: 5n };
    const head = { ...ref(0n, 0n), era: 5n };
    const decision = decide(undefined, { ...acquire, head }, { ...usual, mark });
    expect(decision).toMatchObject({ kind: "applied", sign: "grant" });
    expect(applied(decision)).toEqual({
      ...held,
      revision: 1n,
      lastCommand: "this one",
      era: 5n,
      major: 0n,
      head,
      bases: [{ era: 5n, major: 0n, startedFrom: head }],
    });
  });

  test("§4: a repeated acquire is answered with the record, another one is told that it EXISTS", () => {
    const record = applied(decide(undefined, acquire, usual));
    expect(decide(record, acquire, usual)).toEqual({ kind: "repeated", record });
    expectRefusal(record, { ...acquire, id: "another" }, "EXISTS");
    expectRefusal(record, { ...acquire, caller: other }, "EXISTS");
    expectRefusal(terminated, acquire, "EXISTS");
  });

  test.each<[string, Partial<Acquire>, Partial<Facts>]>([
    ["does not hash to the agent's id", {}, { genesisMatches: false }],
    ["names another creator", { genesis: { ...genesis, creatorHostId: "host-c" } }, {}],
    ["names another incarnation", { genesis: { ...genesis, incarnation: "older" } }, {}],
    ["comes with a later checkpoint", { head: ref(0n, 1n) }, {}],
    ["comes with a checkpoint of a later major", { head: ref(1n, 0n) }, {}],
    ["comes with a checkpoint of another era", { head: { ...ref(0n, 0n), era: 1n } }, {}],
  ])("§4: BAD_GENESIS when the genesis %s", (_, changes, facts) => {
    expectRefusal(undefined, { ...acquire, ...changes }, "BAD_GENESIS", { ...usual, ...facts });
  });
});

describe("report_head", () => {
  test("§4: moves the head and does not raise the revision, so that it makes no other command stale", () => {
    expect(applied(decide(held, report(ref(2n, 40n)), usual))).toEqual({ ...held, head: ref(2n, 40n) });
    const during = applied(decide(handingOff, report(ref(2n, 30n)), usual));
    expect(during).toEqual(handingOff);
  });

  test("§4: confirms the base that it names, which becomes the newest of the bases, and may be older than the head", () => {
    expect(applied(decide(unconfirmed, report(ref(1n, 15n)), usual))).toEqual({
      ...held,
      ...raised,
      head: ref(1n, 15n),
      bases: [{ era: 0n, major: 2n, startedFrom: ref(1n, 15n) }, ...unconfirmed.bases],
    });
  });

  test("§4: BASE_UNCONFIRMED for anything else while the base is unconfirmed", () => {
    expectRefusal(unconfirmed, report(ref(1n, 20n)), "BASE_UNCONFIRMED");
    expectRefusal(unconfirmed, report(ref(2n, 21n)), "BASE_UNCONFIRMED");
    expectRefusal(unconfirmed, report(ref(1n, 15n, "another of that tick")), "BASE_UNCONFIRMED");
  });

  test("EI-1: NOT_OWNER for another session, the owner's other boots, and the owner's earlier major", () => {
    expectRefusal(held, { ...report(ref(2n, 31n)), caller: other }, "NOT_OWNER");
    expectRefusal(held, { ...report(ref(2n, 31n)), caller: { ...owner, bootId: "boot-2" } }, "NOT_OWNER");
    expectRefusal(held, { ...base, kind: "report_head", era: 0n, major: 1n, head: ref(1n, 20n) }, "NOT_OWNER");
  });

  test("EI-3: STALE_CHECKPOINT for one that is older than the head or off the lineage", () => {
    expectRefusal(held, report(ref(2n, 29n)), "STALE_CHECKPOINT");
    expectRefusal(held, report(ref(1n, 20n)), "STALE_CHECKPOINT");
    expectRefusal(held, report(ref(1n, 21n)), "STALE_CHECKPOINT");
    expectRefusal(held, report(ref(3n, 31n)), "STALE_CHECKPOINT");
  });

  test("§4: RECOVERY_REQUIRED once the agent is retired", () => {
    expectRefusal({ ...held, state: "RETIRED", reason: "stopped" }, report(ref(2n, 31n)), "RECOVERY_REQUIRED");
  });
});

describe("begin_handoff", () => {
  test("§4: opens the handoff, with the frozen checkpoint as head", () => {
    expect(applied(decide(held, begin(), usual))).toEqual({ ...handingOff, ...raised, head: ref(2n, 31n) });
  });

  test("FS-3: HANDOFF_IN_PROGRESS while another handoff is open", () => {
    expectRefusal(handingOff, begin(), "HANDOFF_IN_PROGRESS");
  });

  test("§4: RECOVERY_REQUIRED when the agent is not to tick", () => {
    expectRefusal({ ...held, state: "RECOVERY_REQUIRED", declared: true }, begin(), "RECOVERY_REQUIRED");
    expectRefusal({ ...held, state: "RETIRED", reason: "failed" }, begin(), "RECOVERY_REQUIRED");
  });

  test("§4: BASE_UNCONFIRMED until the base is confirmed", () => {
    expectRefusal(unconfirmed, begin(ref(1n, 20n)), "BASE_UNCONFIRMED");
  });

  test("EI-10: STALE_CHECKPOINT for a frozen checkpoint older than the head", () => {
    expectRefusal(held, begin(ref(2n, 29n)), "STALE_CHECKPOINT");
    expect(decide(held, begin(held.head), usual).kind).toBe("applied");
  });
});

describe("revert_handoff", () => {
  test("FS-1: gives the agent back under the same major, and the handoff and its token are dead", () => {
    const record = applied(decide(handingOff, revert, usual));
    expect(record).toEqual({ ...held, ...raised });
    expectRefusal(record, claim(), "HANDOFF_SUPERSEDED");
  });

  test("§4: of an agent that was not being moved kills the begin_handoff that is still on its way", () => {
    const record = applied(decide(held, { ...revert, id: "the revert" }, usual));
    expectRefusal(record, begin(), "STALE_REVISION");
  });

  test("§4: RECOVERY_REQUIRED after the owner declared it or retired the agent: the way out is recover", () => {
    expectRefusal({ ...held, state: "RECOVERY_REQUIRED", declared: true }, revert, "RECOVERY_REQUIRED");
    expectRefusal({ ...held, state: "RETIRED", reason: "drained" }, revert, "RECOVERY_REQUIRED");
  });
});

describe("claim", () => {
  test("EI-10: makes the target the owner under the next major, its base the frozen head, confirmed", () => {
    const decision = decide(handingOff, claim(), usual);
    expect(decision).toMatchObject({ kind: "applied", sign: "grant" });
    expect(applied(decision)).toEqual({
      ...held,
      ...raised,
      owner: other,
      major: 3n,
      bases: [{ era: 0n, major: 3n, startedFrom: held.head }, ...held.bases],
    });
  });

  test("GH-4: repeated while the record is as the claim left it, it has the same answer; later it is refused", () => {
    const record = applied(decide(handingOff, claim(), usual));
    expect(decide(record, claim(), usual)).toEqual({ kind: "repeated", record });
    const later = applied(decide(record, { ...declare, id: "next", revision: 8n, caller: other }, usual));
    expectRefusal(later, claim(), "HANDOFF_SUPERSEDED");
    expectRefusal(record, claim({}, { ...other, bootId: "boot-2" }), "HANDOFF_SUPERSEDED");
  });

  test.each<[string, AuthorityRecord, Partial<TokenClaims>]>([
    ["another handoff", handingOff, { handoffId: "an earlier one" }],
    ["an earlier major", handingOff, { major: 1n }],
    ["another era", handingOff, { era: 1n }],
    ["an agent that is not being moved", held, {}],
    ["an agent that was released", { ...held, state: "RETIRED", reason: "drained" }, {}],
    ["an agent in conflict", conflicting, {}],
  ])("GH-3: HANDOFF_SUPERSEDED with a token of %s", (_, record, changes) => {
    expectRefusal(record, claim(changes), "HANDOFF_SUPERSEDED");
  });

  test.each<[string, Command, Partial<Facts>]>([
    ["the owner's host did not sign it", claim(), { tokenSignedByOwner: false }],
    ["it names another target", claim({ targetHostId: "host-c" }), {}],
    ["another host brings it", claim({}, { hostId: "host-c", bootId: "boot-1" }), {}],
    ["it names another agent", claim({ agentId: "another" }), {}],
    ["it names another checkpoint", claim({ checkpointDigest: "another" }), {}],
    ["it names another tick", claim({ tick: 29n }), {}],
  ])("EI-10: BAD_TOKEN when %s", (_, command, facts) => {
    expectRefusal(handingOff, command, "BAD_TOKEN", { ...usual, ...facts });
  });
});

describe("recover by the owner", () => {
  test.each([
    ["that it ticks", held],
    ["whose handoff is open", handingOff],
    ["that it declared", { ...held, state: "RECOVERY_REQUIRED", declared: true } as const],
    ["that it released", { ...held, state: "RETIRED", reason: "drained" } as const],
  ])("GH-3: brings back an agent %s under the next major, its base confirmed", (_, record) => {
    const decision = decide(record, recover(owner, ref(2n, 32n)), usual);
    expect(decision).toMatchObject({ kind: "applied", sign: "grant" });
    expect(applied(decision)).toEqual({
      ...held,
      ...raised,
      major: 3n,
      head: ref(2n, 32n),
      bases: [{ era: 0n, major: 3n, startedFrom: ref(2n, 32n) }, ...held.bases],
    });
  });

  test("§4: STALE_CHECKPOINT for one older than the head, whatever the policy", () => {
    for (const recoveryPolicy of ["latest", "strict"] as const) {
      expectRefusal({ ...held, recoveryPolicy }, recover(owner, ref(2n, 29n)), "STALE_CHECKPOINT");
    }
  });

  test("§4: its base stays unconfirmed if the one before was, and moves neither head nor bases", () => {
    const record = applied(decide(unconfirmed, recover(owner, ref(1n, 12n)), usual));
    expect(record).toEqual({ ...unconfirmed, ...raised, major: 3n, unconfirmed: ref(1n, 12n) });
  });
});

describe("recover by another session", () => {
  test("EI-1: OWNER_ALIVE until the owner's session is void", () => {
    for (const record of [
      held,
      handingOff,
      unconfirmed,
      { ...held, state: "RECOVERY_REQUIRED", declared: true },
    ] as const) {
      expectRefusal(record, recover(other, ref(2n, 30n)), "OWNER_ALIVE");
    }
    expectRefusal(held, recover({ ...owner, bootId: "boot-2" }, ref(2n, 30n)), "OWNER_ALIVE");
  });

  test.each([
    ["the owner's session is void", held, ownerVoid],
    ["it was released", { ...held, state: "RETIRED", reason: "drained" } as const, usual],
    [
      "a forced recovery left it without owner",
      { ...held, state: "RETIRED", reason: "forced", owner: undefined } as const,
      usual,
    ],
  ])("§4: when %s: the next major, its base unconfirmed, head and bases as they were", (_, record, facts) => {
    const decision = decide(record, recover(other, ref(1n, 18n)), facts);
    expect(decision).toMatchObject({ kind: "applied", sign: "grant" });
    expect(applied(decision)).toEqual({ ...held, ...raised, owner: other, major: 3n, unconfirmed: ref(1n, 18n) });
  });

  test("GA-3: kills the handoff and its token", () => {
    const record = applied(decide(handingOff, recover({ hostId: "host-c", bootId: "boot-1" }, held.head), ownerVoid));
    expect(record.handoff).toBeUndefined();
    expectRefusal(record, claim(), "HANDOFF_SUPERSEDED", ownerVoid);
  });

  test("§4: an unconfirmed base that nobody confirmed does not throw away what somebody else still has", () => {
    const record = applied(decide(unconfirmed, recover(other, ref(1n, 20n)), ownerVoid));
    expect(record).toMatchObject({
      major: 3n,
      head: ref(1n, 20n),
      unconfirmed: ref(1n, 20n),
      bases: unconfirmed.bases,
    });
  });

  test("EI-3: STALE_CHECKPOINT for an orphan", () => {
    expectRefusal(held, recover(other, ref(1n, 21n)), "STALE_CHECKPOINT", ownerVoid);
    expectRefusal(held, recover(other, ref(3n, 31n)), "STALE_CHECKPOINT", ownerVoid);
    expectRefusal(unconfirmed, recover(other, ref(2n, 21n)), "STALE_CHECKPOINT", ownerVoid);
  });

  test("§4: under strict only the record's head or a newer one is acceptable", () => {
    const strict: AuthorityRecord = { ...held, recoveryPolicy: "strict" };
    expectRefusal(strict, recover(other, ref(2n, 29n)), "STALE_CHECKPOINT", ownerVoid);
    expect(decide(strict, recover(other, ref(2n, 30n)), ownerVoid).kind).toBe("applied");
    expect(decide(strict, recover(other, ref(2n, 31n)), ownerVoid).kind).toBe("applied");
  });

  test("§4: under latest any is acceptable, unless a live session has announced a newer one on the lineage", () => {
    const announced = (...refs: CheckpointRef[]): Facts => ({ ...ownerVoid, announced: refs });
    const older = recover(other, ref(2n, 25n));
    expectRefusal(held, older, "STALE_CHECKPOINT", announced(ref(1n, 5n), ref(2n, 26n)));
    expect(decide(held, older, announced(ref(2n, 25n), ref(2n, 24n))).kind).toBe("applied");
    expect(decide(held, older, announced(ref(3n, 40n))).kind).toBe("applied"); // an orphan stands in nobody's way
    expect(decide(held, recover(other, ref(1n, 20n)), announced(ref(1n, 21n))).kind).toBe("applied");
  });
});

describe("declare_recovery", () => {
  test("GA-4: stops the agent, and a handoff is dead", () => {
    expect(applied(decide(handingOff, declare, usual))).toEqual({
      ...held,
      ...raised,
      state: "RECOVERY_REQUIRED",
      declared: true,
    });
  });

  test("§4: may be declared after a conflict, but not of a retired agent", () => {
    expect(applied(decide(conflicting, declare, usual))).toMatchObject({ declared: true, conflict });
    expectRefusal({ ...held, state: "RETIRED", reason: "stopped" }, declare, "RECOVERY_REQUIRED");
  });
});

describe("release", () => {
  test("§4: retires the agent with its reason, and moves the head if one is given", () => {
    const retired = { ...held, ...raised, state: "RETIRED", reason: "drained" };
    expect(applied(decide(held, release(ref(2n, 33n)), usual))).toEqual({ ...retired, head: ref(2n, 33n) });
    expect(applied(decide(handingOff, release(), usual))).toEqual(retired);
  });

  test("§4: with a head it needs a confirmed base; without one it does not", () => {
    expectRefusal(unconfirmed, release(ref(1n, 20n)), "BASE_UNCONFIRMED");
    expect(applied(decide(unconfirmed, release(), usual))).toMatchObject({
      state: "RETIRED",
      head: unconfirmed.head,
      unconfirmed: unconfirmed.unconfirmed,
    });
  });

  test("EI-3: STALE_CHECKPOINT for a head older than the record's", () => {
    expectRefusal(held, release(ref(2n, 29n)), "STALE_CHECKPOINT");
  });
});

describe("terminate", () => {
  test.each([held, handingOff, unconfirmed, conflicting, { ...held, state: "RETIRED", reason: "failed" } as const])(
    "§4: ends the agent from any state ($state), and the registry signs it",
    (record) => {
      const decision = decide(record, terminate, usual);
      expect(decision).toMatchObject({ kind: "applied", sign: "termination" });
      expect(applied(decision)).toEqual({
        ...record,
        ...raised,
        state: "RETIRED",
        reason: undefined,
        handoff: undefined,
      });
    },
  );

  test("§4: is final: nobody recovers, claims or reports a terminated agent", () => {
    for (const command of [report(ref(2n, 31n)), begin(), revert, claim(), declare, release()]) {
      expectRefusal(terminated, command, "TERMINATED");
    }
    expectRefusal(terminated, recover(owner, held.head), "TERMINATED");
    expectRefusal(terminated, recover(other, held.head), "TERMINATED", ownerVoid);
  });
});

describe("EI-11: two checkpoints of one major and tick", () => {
  const forkOf = (tick: bigint, known: string) => ({
    era: 0n,
    major: tick === 30n ? 2n : 1n,
    tick,
    known,
    offered: "fork",
  });

  test.each<[string, Command, Facts]>([
    ["report_head", report(ref(2n, 30n, "fork")), usual],
    ["begin_handoff", begin(ref(2n, 30n, "fork")), usual],
    ["release", release(ref(2n, 30n, "fork")), usual],
    ["recover by the owner", recover(owner, ref(2n, 30n, "fork")), usual],
    ["recover by another", recover(other, ref(2n, 30n, "fork")), ownerVoid],
  ])("found against the head by %s, are written down, and the command is refused", (_, command, facts) => {
    const decision = decide(held, command, facts);
    expect(decision).toEqual({
      kind: "refused",
      code: "DIVERGENT_LINEAGE",
      write: true,
      record: {
        ...held,
        state: "RECOVERY_REQUIRED",
        revision: 8n,
        lastCommand: "",
        conflict: forkOf(30n, held.head.digest),
      },
    });
  });

  test("found against a base, are written down too, and a handoff and an earlier declaration are over", () => {
    const decision = decide({ ...handingOff, declared: true }, report(ref(1n, 20n, "fork")), usual);
    expect(decision).toMatchObject({
      code: "DIVERGENT_LINEAGE",
      write: true,
      record: {
        state: "RECOVERY_REQUIRED",
        handoff: undefined,
        declared: false,
        conflict: forkOf(20n, ref(1n, 20n).digest),
      },
    });
  });

  test("the refused command, sent again, is not taken for done, and the first conflict stays as it was written", () => {
    const command = recover(other, ref(2n, 30n, "fork"));
    const decision = decide(held, command, ownerVoid);
    if (decision.kind !== "refused" || decision.record === undefined) throw new Error("no conflict was found");
    expectRefusal(decision.record, command, "STALE_REVISION", ownerVoid);
    const again: Command = { ...recover(other, ref(2n, 30n, "a third")), revision: 8n };
    expectRefusal(decision.record, again, "DIVERGENT_LINEAGE", ownerVoid);
  });

  test("keep everybody from recovering and releasing the agent, until an operator decides", () => {
    expectRefusal(conflicting, recover(owner, ref(2n, 31n)), "DIVERGENT_LINEAGE");
    expectRefusal(conflicting, recover(other, ref(2n, 31n)), "DIVERGENT_LINEAGE", ownerVoid);
    expectRefusal(conflicting, release(), "DIVERGENT_LINEAGE");
    expectRefusal(conflicting, begin(), "RECOVERY_REQUIRED");
    expectRefusal(conflicting, revert, "RECOVERY_REQUIRED");
  });
});

describe("the order of the refusals", () => {
  /** Everything is wrong at once; the row's changes put right what comes before its code. */
  const wrong: Facts = {
    ...usual,
    mark: { incarnation: "inc", counter: 0n, quarantine: true },
    caller: "unknown",
    tokenSignedByOwner: false,
  };
  const served: Facts = { ...wrong, mark: usual.mark };
  const known: Facts = { ...served, caller: "open" };
  const strangersReport: Command = { ...report(ref(2n, 30n, "fork")), caller: other };
  const lateBegin: Command = { ...begin(ref(2n, 30n, "fork")), revision: 6n };
  const { conflict: _, ...calm } = conflicting;

  test.each<[RefusalCode, AuthorityRecord | undefined, Command, Facts]>([
    ["STALE_INCARNATION", undefined, { ...lateBegin, incarnation: "older" }, wrong],
    ["QUARANTINE", undefined, lateBegin, wrong],
    ["SESSION_UNKNOWN", undefined, lateBegin, served],
    ["SESSION_VOID", undefined, lateBegin, { ...served, caller: "void" }],
    ["BAD_SECRET", undefined, lateBegin, { ...served, caller: "bad-secret" }],
    ["NO_RECORD", undefined, lateBegin, known],
    ["EXISTS", terminated, { ...acquire, head: ref(3n, 3n) }, { ...known, genesisMatches: false }],
    ["TERMINATED", terminated, strangersReport, known],
    ["NOT_OWNER", handingOff, { ...lateBegin, caller: other }, known],
    ["STALE_REVISION", handingOff, lateBegin, known],
    ["OWNER_ALIVE", conflicting, recover(other, ref(2n, 30n, "fork")), known],
    ["HANDOFF_IN_PROGRESS", handingOff, begin(ref(2n, 30n, "fork")), known],
    ["HANDOFF_SUPERSEDED", { ...held, incarnation: "older" }, claim({ tick: 1n }), known],
    ["DIVERGENT_LINEAGE", { ...conflicting, incarnation: "older" }, begin(ref(2n, 30n, "fork")), known],
    ["RECOVERY_REQUIRED", { ...unconfirmed, ...calm, conflict: undefined }, begin(ref(2n, 5n)), known],
    ["RECOVERY_REQUIRED", { ...held, incarnation: "older" }, recover(owner, ref(2n, 5n)), known],
    ["BASE_UNCONFIRMED", unconfirmed, begin(ref(2n, 5n)), known],
    ["STALE_CHECKPOINT", held, begin(ref(2n, 5n)), known],
    ["BAD_TOKEN", handingOff, claim(), known],
  ])("§4: %s comes before all that is after it in the list", (code, record, command, facts) => {
    expectRefusal(record, command, code, facts);
  });

  test.each<Command>([begin(), revert, declare, release(), terminate, recover(owner, held.head)])(
    "§4: STALE_REVISION for a $kind that was decided on another revision",
    (command) => {
      expectRefusal(held, { ...command, revision: 6n } as Command, "STALE_REVISION");
      expectRefusal(held, { ...command, revision: 8n } as Command, "STALE_REVISION");
    },
  );

  test.each<Command>([report(held.head), begin(), revert, declare, release(), terminate])(
    "EI-1: NOT_OWNER for a $kind by anybody but the owner's very session",
    (command) => {
      expectRefusal(held, { ...command, caller: other }, "NOT_OWNER");
      expectRefusal(held, { ...command, caller: { ...owner, bootId: "boot-2" } }, "NOT_OWNER", ownerVoid);
      expectRefusal({ ...held, state: "RETIRED", reason: "forced", owner: undefined }, command, "NOT_OWNER");
    },
  );

  test.each<Command>([begin(), revert, declare, release(), terminate, recover(owner, held.head)])(
    "§4: a repeated $kind is answered with the record that it left, and changes nothing",
    (command) => {
      const record = applied(decide(held, command, usual));
      expect(record).toMatchObject(raised);
      expect(decide(record, command, usual)).toEqual({ kind: "repeated", record });
    },
  );
});

describe("the bases", () => {
  test("§4: majors in a row with the same base are one entry, the newest", () => {
    const [newest, ...older] = held.bases;
    const same = applied(decide({ ...held, head: ref(1n, 20n) }, recover(owner, ref(1n, 20n)), usual));
    expect(newest?.startedFrom).toEqual(ref(1n, 20n));
    expect(same.bases).toEqual([{ era: 0n, major: 3n, startedFrom: ref(1n, 20n) }, ...older]);
    const claimed = applied(
      decide({ ...handingOff, head: ref(1n, 20n) }, claim({ checkpointDigest: "checkpoint 1/20", tick: 20n }), usual),
    );
    expect(claimed.bases).toEqual(same.bases);
  });

  test("§11: at most 64 are kept, the newest", () => {
    let record = held;
    for (let tick = 31n; tick < 31n + 2n * BigInt(maxBases); tick++) {
      const command: Command = {
        ...recover(owner, ref(record.major, tick)),
        id: `at ${tick}`,
        revision: record.revision,
      };
      record = applied(decide(record, command, usual));
    }
    expect(record.bases).toHaveLength(64);
    expect(record.bases.map(({ major }) => major)).toEqual(
      Array.from({ length: 64 }, (_, i) => record.major - BigInt(i)),
    );
  });
});
