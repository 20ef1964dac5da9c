import type { AuthorityRecord, CheckpointRef } from "@godwit/common/lease";
import { describe, expect, test } from "vitest";
import { placementOf } from "../store/placement.ts";
import { isOfferable, rankHolders } from "./ranking.ts";

const ref = (tick: bigint, major = 1n): CheckpointRef => ({ era: 0n, major, tick, digest: `${major}/${tick}` });
const mark = { incarnation: "i", counter: 0n };
const owner = { hostId: "owner", bootId: "b" };
const signed = { payload: new Uint8Array(), signature: new Uint8Array() };

const record: AuthorityRecord = {
  agentId: "a",
  name: "",
  incarnation: "i",
  revision: 3n,
  state: "ACTIVE_OWNER",
  reason: undefined,
  era: 0n,
  major: 1n,
  owner,
  handoff: undefined,
  head: ref(20n),
  bases: [
    { era: 0n, major: 1n, startedFrom: ref(10n, 0n) },
    { era: 0n, major: 0n, startedFrom: ref(0n, 0n) },
  ],
  unconfirmed: undefined,
  lastCommand: "c",
  conflict: undefined,
  forced: undefined,
  afterLoss: undefined,
  declared: false,
  terminated: undefined,
  grant: undefined,
  recoveryPolicy: "latest",
};

const holder = (hostId: string, checkpoint: CheckpointRef) => ({ session: { hostId, bootId: "b" }, checkpoint });
const ranked = (holders: readonly ReturnType<typeof holder>[], of = record, draining: readonly string[] = []) =>
  rankHolders(of, holders, { draining: new Set(draining), mark }).map(({ session }) => session.hostId);

describe("§8: whom an agent is offered to", () => {
  test("under latest, the holders of the newest that is announced: an older one would be refused", () => {
    expect(ranked([holder("old", ref(18n)), holder("new", ref(19n)), holder("as new", ref(19n))])).toEqual([
      "new",
      "as new",
    ]);
  });

  test("under strict, all that hold the head or newer, newest first", () => {
    const strict = { ...record, recoveryPolicy: "strict" } as const;
    const holders = [holder("old", ref(19n)), holder("head", ref(20n)), holder("newer", ref(21n))];
    expect(ranked(holders, strict)).toEqual(["newer", "head"]);
    expect(ranked([holder("old", ref(19n))], strict)).toEqual([]);
  });

  test("orphans stand in nobody's way, and are offered nothing", () => {
    expect(ranked([holder("orphan", ref(11n, 0n)), holder("good", ref(10n, 0n))])).toEqual(["good"]);
    expect(ranked([])).toEqual([]);
  });

  test("draining hosts are left out, but what they hold still keeps older checkpoints back", () => {
    const holders = [holder("draining", ref(20n)), holder("same", ref(20n)), holder("older", ref(19n))];
    expect(ranked(holders, record, ["draining"])).toEqual(["same"]);
  });
});

describe("§8: which agents are offered", () => {
  const stateOf = (changes: Partial<AuthorityRecord>) => {
    const changed = { ...record, ...changes };
    const { offeredNow, offeredWhenClosed } = placementOf(changed);
    return {
      ownerLives: isOfferable(changed, { ownerVoid: false, mark }),
      ownerVoid: isOfferable(changed, { ownerVoid: true, mark }),
      placement: [offeredNow, offeredWhenClosed !== undefined],
    };
  };
  const never = { ownerLives: false, ownerVoid: false, placement: [false, false] };

  test.each(["ACTIVE_OWNER", "HANDOFF_INITIATED", "RECOVERY_REQUIRED"] as const)(
    "%s: once the owner's session is void",
    (state) => {
      expect(stateOf({ state })).toEqual({ ownerLives: false, ownerVoid: true, placement: [false, true] });
    },
  );

  test.each(["drained", "cannot-run", "forced"] as const)("released (%s): at once", (reason) => {
    expect(stateOf({ state: "RETIRED", reason })).toEqual({
      ownerLives: true,
      ownerVoid: true,
      placement: [true, false],
    });
  });

  test.each(["stopped", "failed", "unfunded"] as const)("released (%s): only when somebody asks", (reason) => {
    expect(stateOf({ state: "RETIRED", reason })).toEqual(never);
  });

  test("never in a conflict, and never once terminated", () => {
    const conflict = { era: 0n, major: 1n, tick: 1n, known: "a", offered: "b" };
    expect(stateOf({ state: "RECOVERY_REQUIRED", conflict })).toEqual(never);
    expect(stateOf({ state: "RETIRED", reason: "drained", terminated: signed })).toEqual(never);
  });
});
