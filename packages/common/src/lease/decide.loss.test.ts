// §4's last row and GA-9: what an operator may choose, and what may be done with an agent whose record the store forgot.

import { describe, expect, test } from "vitest";
import { decide, type Facts, type ForceRecover, type Recover, type RefusalCode, type SpineFacts } from "./decide.ts";
import { basesOfSpine, standing, standingUnder } from "./lineage-walk.ts";
import type { AuthorityRecord, CheckpointRef, SessionId } from "./record.ts";

const owner: SessionId = { hostId: "host-a", bootId: "boot-1" };
const other: SessionId = { hostId: "host-b", bootId: "boot-1" };

const ref = (major: bigint, tick: bigint, digest = `checkpoint ${major}/${tick}`, era = 0n): CheckpointRef => ({
  era,
  major,
  tick,
  digest,
});

/** Major 2 started from tick 20 of major 1, that from tick 10 of major 0; written under the incarnation before the loss. */
const lost: AuthorityRecord = {
  agentId: "agent",
  name: "a name",
  incarnation: "before",
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
  grant: { payload: new Uint8Array([1]), signature: new Uint8Array([2]) },
  recoveryPolicy: "latest",
};
const known: AuthorityRecord = { ...lost, incarnation: "now" };
const conflict = { era: 0n, major: 2n, tick: 30n, known: "checkpoint 2/30", offered: "fork" };
const conflicting: AuthorityRecord = { ...known, state: "RECOVERY_REQUIRED", conflict };

/** Of a checkpoint of the lost time: major 4, from tick 35 of major 3, from tick 30 of major 2. */
const links = [
  { ref: ref(4n, 44n), base: ref(3n, 35n) },
  { ref: ref(3n, 35n), base: ref(2n, 30n) },
  { ref: ref(2n, 30n), base: ref(1n, 20n) },
  { ref: ref(1n, 20n), base: ref(0n, 10n) },
  { ref: ref(0n, 10n), base: ref(0n, 0n) },
  { ref: ref(0n, 0n), base: undefined },
];
const spine: SpineFacts = {
  bases: basesOfSpine(links),
  genesis: { incarnation: "before", recoveryPolicy: "strict", name: "by the genesis" },
  grantedUnder: "before",
};
const spineOf = (from: number): SpineFacts => ({ ...spine, bases: basesOfSpine(links.slice(from)) });

const facts: Facts = {
  mark: { incarnation: "now", counter: 1_700n, quarantine: false },
  caller: "open",
  ownerVoid: false,
  announced: [],
  genesisMatches: false,
  tokenSignedByOwner: false,
  spine,
};
const recover = (head: CheckpointRef, changes: Partial<Recover> = {}): Recover => ({
  kind: "recover",
  id: "this one",
  incarnation: "now",
  agentId: "agent",
  caller: other,
  revision: 7n,
  head,
  ...changes,
});
const force = (head: CheckpointRef, changes: Partial<ForceRecover> = {}): ForceRecover => ({
  kind: "force_recover",
  id: "this one",
  incarnation: "now",
  agentId: "agent",
  revision: 7n,
  head,
  operator: { name: "an operator", reason: "a reason" },
  noneAcceptable: false,
  ...changes,
});

function applied(...args: Parameters<typeof decide>): AuthorityRecord {
  const decision = decide(...args);
  if (decision.kind !== "applied")
    throw new Error(`not applied: ${"code" in decision ? decision.code : decision.kind}`);
  return decision.record;
}
function expectRefusal(code: RefusalCode, ...[record, ...rest]: Parameters<typeof decide>): void {
  expect(decide(record, ...rest)).toEqual({ kind: "refused", code, record, write: false });
}

describe("GA-9: recover of a record that nobody confirmed", () => {
  test("GA-9: takes the term (counter, 0), whether or not the former owner lives, and marks what it waits for", () => {
    const decision = decide(lost, recover(ref(4n, 44n)), facts);
    expect(decision).toMatchObject({ kind: "applied", sign: "grant" });
    expect(applied(lost, recover(ref(4n, 44n)), facts)).toEqual({
      ...lost,
      name: "by the genesis",
      recoveryPolicy: "strict",
      incarnation: "now",
      revision: 8n,
      lastCommand: "this one",
      owner: other,
      era: 1_700n,
      major: 0n,
      unconfirmed: ref(4n, 44n),
      afterLoss: { above: { era: 0n, major: 2n }, era: 1_700n, spine: spine.bases },
    });
  });

  test("GA-9: the former owner's own session recovers like everybody else, its base unconfirmed", () => {
    const record = applied(lost, recover(ref(2n, 31n), { caller: owner }), { ...facts, spine: spineOf(2) });
    expect(record).toMatchObject({ owner, era: 1_700n, major: 0n, unconfirmed: ref(2n, 31n) });
  });

  test("GA-9: every checkpoint of a major above the record's counts, so an orphan may win; below it the walk counts", () => {
    for (const head of [ref(3n, 1n, "orphan"), ref(9n, 99n), ref(2n, 30n), ref(1n, 15n)]) {
      expect(applied(lost, recover(head), facts)).toMatchObject({ unconfirmed: head });
    }
    expectRefusal("STALE_CHECKPOINT", lost, recover(ref(1n, 25n)), facts);
  });

  test("GA-9: of the record's own major those count whose base it had not seen confirmed", () => {
    const unconfirmed = { ...lost, bases: lost.bases.slice(1), head: ref(1n, 20n), unconfirmed: ref(1n, 15n) };
    expect(applied(unconfirmed, recover(ref(2n, 16n)), facts)).toMatchObject({
      unconfirmed: ref(2n, 16n),
      afterLoss: { above: { era: 0n, major: 1n } },
    });
  });

  test("GA-9: the confirmed base brings its spine along as the bases, and the lost time is over", () => {
    const recovered = applied(lost, recover(ref(4n, 44n)), facts);
    const report = {
      kind: "report_head",
      id: "report",
      incarnation: "now",
      agentId: "agent",
      caller: other,
      era: 1_700n,
      major: 0n,
      head: ref(4n, 44n),
    } as const;
    const confirmed = applied(recovered, report, facts);
    expect(confirmed.bases).toEqual([{ era: 1_700n, major: 0n, startedFrom: ref(4n, 44n) }, ...spine.bases]);
    expect(confirmed).toMatchObject({ unconfirmed: undefined, afterLoss: undefined, head: ref(4n, 44n), revision: 9n });
    expect(standing(confirmed.bases, confirmed.head, ref(3n, 35n), confirmed)).toBe("on-lineage");
    expect(standing(confirmed.bases, confirmed.head, ref(9n, 99n), confirmed)).toBe("orphan");
  });

  test("GA-9: until a base is confirmed, the next recovery may choose anew, by the rules of an owner that lives or not", () => {
    const recovered = applied(lost, recover(ref(2n, 30n)), { ...facts, spine: spineOf(2) });
    const again = (caller: SessionId, ownerVoid: boolean) =>
      decide(recovered, recover(ref(4n, 44n), { id: "next", caller, revision: 8n }), { ...facts, ownerVoid });
    expect(again(owner, false)).toMatchObject({ kind: "refused", code: "OWNER_ALIVE" });
    expect(again(owner, true)).toMatchObject({
      kind: "applied",
      record: { era: 1_700n, major: 1n, owner, unconfirmed: ref(4n, 44n), afterLoss: { spine: spine.bases } },
    });
    expect(again(other, false)).toMatchObject({ kind: "applied", record: { era: 1_700n, major: 1n, owner: other } });
  });

  test("GA-9: a second loss before that keeps every checkpoint since the first in the running", () => {
    const recovered = applied(lost, recover(ref(2n, 30n)), { ...facts, spine: spineOf(2) });
    const again = { ...facts, mark: { incarnation: "later", counter: 1_800n, quarantine: false } };
    const head = ref(0n, 46n, "of the first new era", 1_700n);
    const record = applied(recovered, recover(head, { incarnation: "later", revision: 8n }), {
      ...again,
      spine: { ...spine, grantedUnder: "now" },
    });
    expect(record).toMatchObject({ era: 1_800n, major: 0n, afterLoss: { above: { era: 0n, major: 2n }, era: 1_800n } });
  });

  test("GA-9: without its spine, or of the present incarnation's own making, it is told RECOVERY_REQUIRED", () => {
    expectRefusal("RECOVERY_REQUIRED", lost, recover(ref(4n, 44n)), { ...facts, spine: undefined });
    const granted = { ...spine, grantedUnder: "now" };
    expectRefusal("RECOVERY_REQUIRED", lost, recover(ref(4n, 44n)), { ...facts, spine: granted });
    const recovered = applied(lost, recover(ref(4n, 44n)), facts);
    const next = recover(ref(4n, 44n), { id: "next", revision: 8n });
    expectRefusal("RECOVERY_REQUIRED", recovered, next, { ...facts, spine: undefined });
  });

  test("GA-9: no lost major is given twice: the new term is above what the record and the checkpoint show", () => {
    const mark = { ...facts.mark, counter: 3n };
    expectRefusal("RECOVERY_REQUIRED", { ...lost, era: 3n }, recover(ref(2n, 30n)), { ...facts, mark });
    expectRefusal("RECOVERY_REQUIRED", lost, recover(ref(0n, 50n, "x", 3n)), { ...facts, mark });
  });

  test("GA-9: what a live session has announced of the lost time keeps older checkpoints back, under strict as well", () => {
    const announced = [ref(4n, 44n)];
    for (const recoveryPolicy of ["latest", "strict"] as const) {
      const record = { ...lost, recoveryPolicy };
      expectRefusal("STALE_CHECKPOINT", record, recover(ref(3n, 35n)), { ...facts, announced });
      expect(applied(record, recover(ref(4n, 44n)), { ...facts, announced }).unconfirmed).toEqual(ref(4n, 44n));
    }
    expectRefusal("STALE_CHECKPOINT", { ...lost, recoveryPolicy: "strict" }, recover(ref(2n, 29n)), facts);
    expect(applied(lost, recover(ref(2n, 29n)), facts).unconfirmed).toEqual(ref(2n, 29n));
  });

  test("GA-9: a conflict and a termination are not recovered from, whoever forgot what", () => {
    expectRefusal("DIVERGENT_LINEAGE", { ...lost, conflict, state: "RECOVERY_REQUIRED" }, recover(ref(4n, 44n)), facts);
    const terminated = { payload: new Uint8Array([1]), signature: new Uint8Array([2]) };
    expectRefusal("TERMINATED", { ...lost, state: "RETIRED", terminated }, recover(ref(4n, 44n)), facts);
  });

  test("EI-11: a checkpoint of the lost record's own head tick with another digest is written down as a conflict", () => {
    const decision = decide(lost, recover(ref(2n, 30n, "fork")), facts);
    expect(decision).toMatchObject({ kind: "refused", code: "DIVERGENT_LINEAGE", write: true, record: { conflict } });
    expect(decision.record?.incarnation, "nobody confirmed it").toBe("before");
  });

  test("GA-9: every other command on such a record is refused", () => {
    const base = { id: "this one", incarnation: "now", agentId: "agent", caller: owner, revision: 7n } as const;
    const head = ref(2n, 31n);
    expectRefusal("RECOVERY_REQUIRED", lost, { ...base, kind: "revert_handoff" }, facts);
    expectRefusal("RECOVERY_REQUIRED", lost, { ...base, kind: "release", reason: "drained", head }, facts);
    expectRefusal("RECOVERY_REQUIRED", lost, { ...base, kind: "declare_recovery", reason: "" }, facts);
    expectRefusal("RECOVERY_REQUIRED", lost, { ...base, kind: "terminate" }, facts);
    expectRefusal("RECOVERY_REQUIRED", lost, { ...base, kind: "report_head", era: 0n, major: 2n, head }, facts);
    const begin = { ...base, kind: "begin_handoff", handoffId: "h", targetHostId: "t", head } as const;
    expectRefusal("RECOVERY_REQUIRED", lost, begin, facts);
  });

  test("GA-9: an answer from before the loss is not given again, though the command bears the same id", () => {
    const same = recover(ref(4n, 44n), { id: "the one before", caller: owner, incarnation: "now" });
    expect(decide(lost, same, facts)).toMatchObject({ kind: "applied", record: { era: 1_700n, major: 0n } });
  });
});

describe("GA-9: an agent that has checkpoints but no record", () => {
  test("GA-9: is made again from its spine, at (counter, 0), its base unconfirmed, every checkpoint in the running", () => {
    const record = applied(undefined, recover(ref(4n, 44n), { revision: 0n }), facts);
    expect(record).toEqual({
      ...lost,
      name: "by the genesis",
      recoveryPolicy: "strict",
      incarnation: "now",
      revision: 1n,
      lastCommand: "this one",
      owner: other,
      era: 1_700n,
      major: 0n,
      head: ref(4n, 44n),
      bases: [],
      unconfirmed: ref(4n, 44n),
      afterLoss: { above: undefined, era: 1_700n, spine: spine.bases },
      grant: undefined,
    });
    expect(standingUnder(facts.mark, record, ref(1n, 25n))).toBe("on-lineage");
  });

  test("GA-9: not when a live session holds a newer one", () => {
    const announced = [ref(4n, 45n)];
    expectRefusal("STALE_CHECKPOINT", undefined, recover(ref(4n, 44n), { revision: 0n }), { ...facts, announced });
    // One of the new era is of no lost time.
    const strange = [ref(0n, 99n, "strange", 1_700n)];
    expect(decide(undefined, recover(ref(4n, 44n), { revision: 0n }), { ...facts, announced: strange }).kind).toBe(
      "applied",
    );
  });

  test.each<[string, Partial<Facts>, Partial<Recover>]>([
    ["shows no spine", { spine: undefined }, {}],
    [
      "has a genesis of this incarnation, which never acquired it",
      { spine: { ...spine, genesis: { ...spine.genesis, incarnation: "now" } } },
      {},
    ],
    [
      "has a checkpoint that this incarnation granted: the store forgot again",
      { spine: { ...spine, grantedUnder: "now" } },
      {},
    ],
    ["names a revision that it has read of it", {}, { revision: 3n }],
    ["has a checkpoint of a later era than the mark", {}, { head: ref(0n, 1n, "x", 1_701n) }],
  ])("GA-9: NO_RECORD for one that %s", (_, changed, command) => {
    expectRefusal("NO_RECORD", undefined, recover(ref(4n, 44n), { revision: 0n, ...command }), {
      ...facts,
      ...changed,
    });
  });
});

describe("force_recover", () => {
  const chosen = ref(2n, 30n, "fork");
  const ownerVoid = { ...facts, spine: spineOf(2), ownerVoid: true };

  test("§4: RETIRED (forced), no owner, major + 1, the choice on top of its spine, the conflict cleared", () => {
    expect(decide(conflicting, force(chosen), ownerVoid)).toEqual({
      kind: "applied",
      sign: undefined,
      record: {
        ...known,
        name: "by the genesis",
        recoveryPolicy: "strict",
        revision: 8n,
        lastCommand: "this one",
        state: "RETIRED",
        reason: "forced",
        owner: undefined,
        major: 3n,
        head: chosen,
        bases: [{ era: 0n, major: 3n, startedFrom: chosen }, ...spineOf(2).bases],
        forced: { era: 0n, major: 3n },
        grant: undefined,
      },
    });
  });

  test("§4: needs the owner void, or declared, or the agent RETIRED: never takes an agent from who may tick it", () => {
    const stated = force(chosen, { noneAcceptable: true });
    expectRefusal("OWNER_ALIVE", conflicting, force(chosen), { ...ownerVoid, ownerVoid: false });
    expectRefusal("OWNER_ALIVE", known, stated, { ...ownerVoid, ownerVoid: false });
    for (const record of [
      { ...conflicting, declared: true },
      { ...known, state: "RETIRED", reason: "failed" } as const,
      { ...conflicting, owner: undefined },
    ]) {
      expect(decide(record, stated, { ...ownerVoid, ownerVoid: false }).kind).toBe("applied");
    }
  });

  test("§4: needs a conflict, or the operator's statement that no acceptable checkpoint is left", () => {
    expectRefusal("RECOVERY_REQUIRED", known, force(chosen), ownerVoid);
    expect(decide(known, force(chosen, { noneAcceptable: true }), ownerVoid).kind).toBe("applied");
    expectRefusal("RECOVERY_REQUIRED", conflicting, force(chosen), { ...ownerVoid, spine: undefined });
  });

  test("§4: is refused for the same first reasons as every command, but needs no session", () => {
    const terminated = { payload: new Uint8Array([1]), signature: new Uint8Array([2]) };
    expectRefusal("STALE_INCARNATION", conflicting, force(chosen, { incarnation: "before" }), ownerVoid);
    const quarantine = { ...ownerVoid, mark: { ...facts.mark, quarantine: true } };
    expectRefusal("QUARANTINE", conflicting, force(chosen), quarantine);
    expectRefusal("TERMINATED", { ...known, state: "RETIRED", terminated }, force(chosen), ownerVoid);
    expectRefusal("STALE_REVISION", conflicting, force(chosen, { revision: 6n }), ownerVoid);
    expectRefusal("STALE_CHECKPOINT", conflicting, force(ref(3n, 40n)), ownerVoid);
    expect(decide(conflicting, force(chosen), { ...ownerVoid, caller: "unknown" }).kind).toBe("applied");
  });

  test("§4: what it gives up is an orphan, never a conflict again", () => {
    const forced = applied(conflicting, force(chosen), ownerVoid);
    const next = (head: CheckpointRef) => decide(forced, recover(head, { id: "next", revision: 8n }), facts);
    expect(next(ref(2n, 30n))).toMatchObject({ kind: "refused", code: "STALE_CHECKPOINT", write: false });
    // Two branches of one major are told apart by nothing but their digests (EI-6).
    expect(next(ref(2n, 29n))).toMatchObject({ kind: "refused", code: "STALE_CHECKPOINT", write: false });
    expect(next(chosen)).toMatchObject({ kind: "applied", record: { owner: other, major: 4n, unconfirmed: chosen } });
    const older = decide(
      { ...forced, recoveryPolicy: "latest" },
      recover(ref(1n, 20n), { id: "next", revision: 8n }),
      facts,
    );
    expect(older, "what the spine names by its digest is on the lineage").toMatchObject({ kind: "applied" });
  });

  test("§4: the agent goes on from the choice, and what was given up stays an orphan for ever", () => {
    const forced = applied(conflicting, force(chosen), ownerVoid);
    const taken = applied(forced, recover(chosen, { id: "next", revision: 8n }), facts);
    const report = { id: "r", incarnation: "now", agentId: "agent", caller: other, era: 0n, major: 4n } as const;
    const going = applied(taken, { kind: "report_head", ...report, head: chosen }, facts);
    expect(going.bases[0]).toEqual({ era: 0n, major: 4n, startedFrom: chosen });
    expect(standing(going.bases, going.head, ref(2n, 30n), going)).toBe("orphan");
    expect(standing(going.bases, going.head, ref(4n, 31n), going)).toBe("on-lineage");
    // A conflict of what came after the choice is one.
    const later = applied(going, { kind: "report_head", ...report, id: "r2", head: ref(4n, 31n) }, facts);
    expect(standing(later.bases, later.head, ref(4n, 31n, "fork"), later)).toBe("divergent");
  });

  test("§4: repeated, it has the same answer; another one needs another reason", () => {
    const forced = applied(conflicting, force(chosen), ownerVoid);
    expect(decide(forced, force(chosen), ownerVoid)).toEqual({ kind: "repeated", record: forced });
    expectRefusal("RECOVERY_REQUIRED", forced, force(chosen, { id: "next", revision: 8n }), ownerVoid);
  });

  test("GA-9: of a record that nobody confirmed, or of none, it takes (counter, 0), whoever lives", () => {
    const stated = force(chosen, { noneAcceptable: true });
    const alive = { ...ownerVoid, ownerVoid: false };
    expect(applied(lost, stated, alive)).toMatchObject({
      era: 1_700n,
      major: 0n,
      incarnation: "now",
      state: "RETIRED",
    });
    expect(applied({ ...lost, conflict }, force(chosen), alive)).toMatchObject({ era: 1_700n, conflict: undefined });
    expect(applied(undefined, { ...stated, revision: 0n }, alive)).toMatchObject({
      era: 1_700n,
      major: 0n,
      state: "RETIRED",
      reason: "forced",
      revision: 1n,
      head: chosen,
      afterLoss: undefined,
    });
    expectRefusal("RECOVERY_REQUIRED", undefined, { ...stated, revision: 0n, noneAcceptable: false }, alive);
    expectRefusal("NO_RECORD", undefined, { ...stated, revision: 0n }, { ...alive, spine: undefined });
    expectRefusal("RECOVERY_REQUIRED", lost, force(ref(0n, 9n, "x", 1_700n), { noneAcceptable: true }), alive);
  });
});

test("§4: an owner with an unconfirmed base comes back to that or a newer one, and behind it only as everybody else", () => {
  const unconfirmed: AuthorityRecord = {
    ...known,
    bases: lost.bases.slice(1),
    head: ref(1n, 20n),
    unconfirmed: ref(1n, 15n),
  };
  const mine = (head: CheckpointRef) => recover(head, { caller: owner });
  const strict = { ...unconfirmed, recoveryPolicy: "strict", unconfirmed: ref(1n, 21n) } as const;
  expectRefusal("STALE_CHECKPOINT", strict, mine(ref(1n, 12n)), facts);
  expect(decide(unconfirmed, mine(ref(1n, 12n)), facts).kind).toBe("applied");
  const announced = [ref(1n, 18n)];
  expectRefusal("STALE_CHECKPOINT", unconfirmed, mine(ref(1n, 12n)), { ...facts, announced });
  expect(decide(unconfirmed, mine(ref(1n, 15n)), { ...facts, announced }).kind).toBe("applied");
});
