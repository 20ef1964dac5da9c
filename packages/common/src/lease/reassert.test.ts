import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type ConflictItem,
  type GrantItem,
  type ReassertFacts,
  type ReassertItem,
  reassert,
  reassertSession,
  type TerminationItem,
} from "./reassert.ts";
import type { AuthorityRecord, CheckpointRef, SessionId } from "./record.ts";

const session: SessionId = { hostId: "host-a", bootId: "boot-1" };
const stranger: SessionId = { hostId: "host-b", bootId: "boot-1" };
const facts: ReassertFacts = { mark: { incarnation: "now", quarantine: true }, session, from: "before" };

const ref = (major: bigint, tick: bigint, digest = `checkpoint ${major}/${tick}`): CheckpointRef => ({
  era: 0n,
  major,
  tick,
  digest,
});
const bases = [
  { era: 0n, major: 2n, startedFrom: ref(1n, 20n) },
  { era: 0n, major: 1n, startedFrom: ref(0n, 10n) },
  { era: 0n, major: 0n, startedFrom: ref(0n, 0n) },
];
const signed = { payload: new Uint8Array([1]), signature: new Uint8Array([2]) };
const genesis = { name: "a name", recoveryPolicy: "latest" } as const;
const item: GrantItem = {
  kind: "grant",
  agentId: "agent",
  genesis,
  grant: { era: 0n, major: 2n, session, incarnation: "before" },
  head: ref(2n, 33n),
  bases,
  unconfirmed: undefined,
  forced: undefined,
  afterLoss: undefined,
  revision: 7n,
};
const conflict = { era: 0n, major: 2n, tick: 30n, known: "one", offered: "another" };
const conflictItem: ConflictItem = {
  kind: "conflict",
  agentId: "agent",
  genesis,
  term: { era: 0n, major: 2n },
  conflict,
};
const terminationItem: TerminationItem = {
  kind: "termination",
  agentId: "agent",
  genesis,
  termination: { era: 0n, major: 2n },
  signed,
};

/** As the store has it from before the loss: the same major and session. */
const record: AuthorityRecord = {
  agentId: "agent",
  name: "a name",
  incarnation: "before",
  revision: 5n,
  state: "ACTIVE_OWNER",
  reason: undefined,
  era: 0n,
  major: 2n,
  owner: session,
  handoff: undefined,
  head: ref(2n, 30n),
  bases,
  unconfirmed: undefined,
  lastCommand: "something",
  conflict: undefined,
  forced: undefined,
  afterLoss: undefined,
  declared: false,
  terminated: undefined,
  grant: signed,
  recoveryPolicy: "latest",
};
const confirmed: AuthorityRecord = { ...record, incarnation: "now" };
const rebuilt: AuthorityRecord = {
  ...record,
  incarnation: "now",
  revision: 8n,
  head: item.head,
  lastCommand: "",
  grant: undefined,
};
const expectUnchanged = (
  before: AuthorityRecord | undefined,
  one: ReassertItem,
  code: string,
  changed: Partial<ReassertFacts> = {},
) => {
  expect(reassert(before, one, { ...facts, ...changed })).toEqual({
    kind: "refused",
    code,
    record: before,
    write: false,
  });
};

describe("GA-7: a grant that is brought back", () => {
  test.each<[string, AuthorityRecord | undefined]>([
    ["no record", undefined],
    ["a record of the same major and session", record],
    [
      "a record of a lower major, of whomever",
      { ...record, major: 1n, owner: stranger, head: ref(1n, 15n), bases: bases.slice(1) },
    ],
    ["a handoff in it", { ...record, state: "HANDOFF_INITIATED", handoff: { id: "h", targetHostId: "t" } }],
    ["RECOVERY_REQUIRED in it, that nobody declared", { ...record, state: "RECOVERY_REQUIRED" }],
    [
      "a conflict of a lower major, which somebody has decided since",
      { ...record, major: 1n, conflict: { ...conflict, major: 1n } },
    ],
  ])("GA-7: rebuilds from it, with %s: ACTIVE_OWNER, the grant given anew", (_, before) => {
    expect(reassert(before, item, facts)).toEqual({ kind: "rebuilt", sign: "grant", record: rebuilt });
  });

  test("GA-7: its unconfirmed base comes back with it, and with it what a loss left open", () => {
    const unconfirmed = { unconfirmed: ref(1n, 15n), head: ref(1n, 20n), bases: bases.slice(1) };
    expect(reassert(undefined, { ...item, ...unconfirmed }, facts)).toMatchObject({ record: unconfirmed });
    const afterLoss = { above: undefined, era: 9n, spine: bases };
    expect(reassert(undefined, { ...item, ...unconfirmed, bases: [], afterLoss }, facts)).toMatchObject({
      record: { afterLoss },
    });
    expect(reassert(undefined, { ...item, afterLoss }, facts), "it was confirmed").toMatchObject({
      record: { afterLoss: undefined },
    });
  });

  test("§4: what an operator's choice gave up stays given up", () => {
    const forced = { era: 0n, major: 2n };
    expect(reassert(undefined, { ...item, forced }, facts)).toMatchObject({ record: { forced } });
    expect(reassert({ ...record, forced }, item, facts)).toMatchObject({ record: { forced } });
    const choice = { ...item, forced, bases: [{ ...forced, startedFrom: ref(1n, 20n, "chosen") }] };
    const before = { ...record, major: 1n, head: ref(1n, 20n), bases: bases.slice(1) };
    expect(reassert(before, choice, facts), "the given up branch is no divergence").toMatchObject({
      kind: "rebuilt",
      sign: "grant",
    });
  });

  test("§4: a report that overtook the host's own word stays the head", () => {
    expect(reassert({ ...record, head: ref(2n, 40n) }, item, facts)).toMatchObject({ record: { head: ref(2n, 40n) } });
  });

  test("GA-7: confirmed already, it is answered and not changed, however often it comes", () => {
    expect(reassert(confirmed, item, facts)).toEqual({ kind: "answered", record: confirmed });
  });

  test.each<[string, AuthorityRecord | undefined, GrantItem, string]>([
    ["the registry's key has not signed it", record, { ...item, grant: undefined }, "BAD_GRANT"],
    [
      "it is of an older incarnation",
      record,
      { ...item, grant: { ...item.grant, incarnation: "long ago" } as never },
      "STALE_INCARNATION",
    ],
    ["it is another session's", record, { ...item, grant: { ...item.grant, session: stranger } as never }, "NOT_OWNER"],
    [
      "it is of an earlier boot of the host",
      record,
      { ...item, grant: { ...item.grant, session: { ...session, bootId: "0" } } as never },
      "NOT_OWNER",
    ],
    ["no genesis gives the agent its id", undefined, { ...item, genesis: undefined }, "BAD_GENESIS"],
    ["the record shows another major since", { ...record, major: 3n, owner: stranger }, item, "NOT_OWNER"],
    ["the record shows the major as somebody else's", { ...record, owner: stranger }, item, "NOT_OWNER"],
    ["another major was confirmed", { ...confirmed, major: 3n, owner: stranger }, item, "NOT_OWNER"],
    [
      "the record shows that it was released",
      { ...record, state: "RETIRED", reason: "drained" },
      item,
      "RECOVERY_REQUIRED",
    ],
    [
      "the record shows that it was declared",
      { ...record, state: "RECOVERY_REQUIRED", declared: true },
      item,
      "RECOVERY_REQUIRED",
    ],
    ["the agent was terminated", { ...record, state: "RETIRED", terminated: signed }, item, "TERMINATED"],
    ["its head is of a later major", undefined, { ...item, head: ref(3n, 40n) }, "STALE_CHECKPOINT"],
    ["its bases are not its major's", undefined, { ...item, bases: bases.slice(1) }, "STALE_CHECKPOINT"],
    [
      "its base is on no lineage",
      undefined,
      { ...item, bases: bases.slice(1), head: ref(1n, 20n), unconfirmed: ref(0n, 15n) },
      "STALE_CHECKPOINT",
    ],
  ])("GA-7, GA-8: is refused, and nothing changes, when %s", (_, before, one, code) => {
    expectUnchanged(before, one, code);
  });

  test("GA-7: only in quarantine, and a grant of the present incarnation proves nothing either", () => {
    expectUnchanged(record, item, "RECOVERY_REQUIRED", { mark: { incarnation: "now", quarantine: false } });
    const present = { ...item, grant: { ...item.grant, incarnation: "now" } } as GrantItem;
    expectUnchanged(record, present, "STALE_INCARNATION", { from: "now" });
  });

  test("GA-7: a conflict of the same major survives: the record is the session's again, and does not tick", () => {
    const before: AuthorityRecord = { ...record, state: "RECOVERY_REQUIRED", conflict };
    const after = { ...before, incarnation: "now", revision: 6n, lastCommand: "" };
    expect(reassert(before, item, facts)).toEqual({
      kind: "refused",
      code: "DIVERGENT_LINEAGE",
      record: after,
      write: true,
    });
    expectUnchanged(after, item, "DIVERGENT_LINEAGE");
  });
});

describe("EI-7: what cannot both be true stops the agent", () => {
  const stopped = { kind: "violation", record: { state: "RECOVERY_REQUIRED", grant: undefined, owner: session } };

  test("GA-7: a grant of a higher major than the confirmed one: under a major above both, which nobody holds", () => {
    const theirs = { ...item, grant: { era: 0n, major: 4n, session: stranger, incarnation: "before" } } as GrantItem;
    const higher = {
      ...theirs,
      bases: [{ era: 0n, major: 4n, startedFrom: ref(2n, 30n) }, ...bases],
      head: ref(4n, 50n),
    };
    const decision = reassert(confirmed, higher, { ...facts, session: stranger });
    expect(decision).toMatchObject(stopped);
    expect(decision.record).toMatchObject({ major: 5n, conflict: { offered: "checkpoint 4/50" }, revision: 6n });
  });

  test("EI-1: one major that was given to two sessions", () => {
    const theirs = { ...item, grant: { era: 0n, major: 2n, session: stranger, incarnation: "before" } } as GrantItem;
    expect(reassert(confirmed, theirs, { ...facts, session: stranger })).toMatchObject(stopped);
  });

  test("EI-11: another checkpoint of the same major and tick as the record's", () => {
    const forked = { ...item, head: ref(2n, 30n, "fork") };
    const decision = reassert(record, forked, facts);
    expect(decision).toMatchObject(stopped);
    expect(decision.record?.conflict).toEqual({
      era: 0n,
      major: 2n,
      tick: 30n,
      known: "checkpoint 2/30",
      offered: "fork",
    });
    const rebased = { ...item, bases: [{ era: 0n, major: 2n, startedFrom: ref(1n, 20n, "fork") }, ...bases.slice(1)] };
    expect(reassert(record, rebased, facts)).toMatchObject(stopped);
  });
});

describe("GA-7: a conflict that is brought back alone", () => {
  test("makes a record that only an operator gets out of, of the incarnation before: nobody has confirmed it", () => {
    expect(reassert(undefined, conflictItem, facts)).toMatchObject({
      kind: "rebuilt",
      sign: undefined,
      record: {
        state: "RECOVERY_REQUIRED",
        conflict,
        incarnation: "before",
        owner: undefined,
        major: 2n,
        head: { digest: "one" },
      },
    });
  });

  test("survives in a record of the same or a lower major, and is one for whoever brings its grant back afterwards", () => {
    const decision = reassert(record, conflictItem, facts);
    expect(decision).toMatchObject({
      kind: "rebuilt",
      record: { conflict, state: "RECOVERY_REQUIRED", owner: session },
    });
    expect(reassert(decision.record, item, facts)).toMatchObject({
      kind: "refused",
      code: "DIVERGENT_LINEAGE",
      write: true,
    });
    const bare = reassert(undefined, conflictItem, facts).record;
    expect(reassert(bare, item, facts)).toMatchObject({
      code: "DIVERGENT_LINEAGE",
      record: { owner: session, incarnation: "now" },
    });
  });

  test("is not news to a record of a later major, nor to one that has a conflict, nor to a terminated one", () => {
    for (const before of [
      { ...record, major: 3n },
      { ...record, conflict: { ...conflict, tick: 1n } },
      { ...record, terminated: signed },
    ]) {
      expect(reassert(before, conflictItem, facts)).toEqual({ kind: "answered", record: before });
    }
  });

  test("stops an agent that was confirmed under that major, whichever came first", () => {
    expect(reassert(confirmed, conflictItem, facts)).toMatchObject({
      kind: "violation",
      record: { conflict, major: 3n, grant: undefined },
    });
  });

  test("is refused where it contradicts itself", () => {
    expectUnchanged(record, { ...conflictItem, term: { era: 0n, major: 1n } }, "STALE_CHECKPOINT");
    expectUnchanged(record, { ...conflictItem, conflict: { ...conflict, offered: "one" } }, "STALE_CHECKPOINT");
  });
});

describe("GA-7: a termination that is brought back alone", () => {
  test("is final in whatever record there is, and makes one where there is none", () => {
    for (const before of [undefined, record, confirmed, { ...record, major: 9n }, { ...record, conflict }]) {
      const decision = reassert(before, terminationItem, facts);
      expect(decision).toMatchObject({
        kind: "rebuilt",
        sign: undefined,
        record: { state: "RETIRED", terminated: signed },
      });
      expect(reassert(decision.record, terminationItem, facts)).toMatchObject({ kind: "answered" });
      expect(reassert(decision.record, item, facts)).toMatchObject({
        kind: "refused",
        code: "TERMINATED",
        write: false,
      });
    }
  });

  test("of another key or another agent is refused", () => {
    expectUnchanged(record, { ...terminationItem, termination: undefined }, "BAD_GRANT");
  });
});

test("GA-7: in whatever order a grant, a conflict and a termination of one major come, the agent ends the same", () => {
  const all: readonly ReassertItem[] = [item, conflictItem, terminationItem];
  fc.assert(
    fc.property(
      fc.constantFrom(undefined, record),
      fc.subarray([0, 1, 2]),
      fc.nat({ max: 5 }),
      (before, some, turn) => {
        const orders = [some, some.toReversed(), [...some.slice(1), ...some.slice(0, 1)], [...some, ...some]];
        const end = (order: readonly number[]) => {
          let now: AuthorityRecord | undefined = before;
          for (const at of order) now = reassert(now, all[at] as ReassertItem, facts).record;
          return {
            state: now?.state,
            conflict: now?.conflict !== undefined && now.terminated === undefined,
            ended: now?.terminated !== undefined,
          };
        };
        expect(end(orders[turn % orders.length] ?? some)).toEqual(end(some));
      },
    ),
    { seed: 20_503 },
  );
});

describe("GA-7: a session that is brought back", () => {
  const mark = facts.mark;
  const claim = { generation: 9n, from: "before" };
  test("its generation is one above the larger of the recorded and the host's last", () => {
    const stored = { incarnation: "before", generation: 4n, closed: false };
    expect(reassertSession(undefined, claim, mark)).toEqual({ kind: "brought-over", generation: 10n });
    expect(reassertSession(stored, claim, mark)).toEqual({ kind: "brought-over", generation: 10n });
    expect(reassertSession({ ...stored, generation: 40n }, claim, mark)).toEqual({
      kind: "brought-over",
      generation: 41n,
    });
  });

  test("SL-2: not once it is closed, nor out of quarantine, nor from the present incarnation", () => {
    const refused = (code: string) => ({ kind: "refused", code });
    expect(reassertSession({ incarnation: "now", generation: 4n, closed: true }, claim, mark)).toEqual(
      refused("SESSION_VOID"),
    );
    expect(reassertSession({ incarnation: "before", generation: 4n, closed: true }, claim, mark)).toEqual(
      refused("SESSION_VOID"),
    );
    expect(reassertSession(undefined, claim, { ...mark, quarantine: false })).toEqual(refused("QUARANTINE_OVER"));
    expect(reassertSession(undefined, { ...claim, from: "now" }, mark)).toEqual(refused("STALE_INCARNATION"));
  });
});
