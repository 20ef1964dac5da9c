import type { AuthorityRecord, CheckpointRef } from "@godwit/common/lease";
import { describe, expect, test } from "vitest";
import { placementOf } from "../store/placement.ts";
import { isOfferable, rankHolders } from "./ranking.ts";

const ref = (tick: bigint, major = 1n): CheckpointRef => ({ era: 0n, major, tick, digest: `${major}/${tick}` });
const mark = { incarnation: "i", counter: 5n };
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

  test("GA-9: after a loss of the store every checkpoint of the lost time counts, and the newest comes first, under strict too", () => {
    const holders = [holder("known", ref(20n)), holder("of a lost major", ref(22n, 3n)), holder("older", ref(19n))];
    for (const recoveryPolicy of ["latest", "strict"] as const) {
      const lost = { ...record, recoveryPolicy, incarnation: "before" };
      expect(ranked(holders, lost)).toEqual(["of a lost major"]);
      expect(ranked([holder("known", ref(20n))], lost)).toEqual(["known"]);
    }
    expect(ranked(holders)).toEqual(["known"]);
  });

  test("§4: what an operator's choice gave up is offered to nobody", () => {
    const chosen = { ...ref(20n), digest: "chosen" };
    const bases = [{ era: 0n, major: 2n, startedFrom: chosen }, ...record.bases];
    const forced = { ...record, major: 2n, head: chosen, bases, forced: { era: 0n, major: 2n } };
    expect(ranked([holder("given up", ref(20n)), holder("chosen", chosen)], forced)).toEqual(["chosen"]);
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

  test("GA-9: what nobody confirmed under the present incarnation, whoever lives", () => {
    expect(isOfferable({ ...record, incarnation: "before" }, { ownerVoid: false, mark })).toBe(true);
    const stopped = { ...record, incarnation: "before", state: "RETIRED", reason: "stopped" } as const;
    expect(isOfferable(stopped, { ownerVoid: false, mark })).toBe(false);
  });

  test("never in a conflict, and never once terminated", () => {
    const conflict = { era: 0n, major: 1n, tick: 1n, known: "a", offered: "b" };
    expect(stateOf({ state: "RECOVERY_REQUIRED", conflict })).toEqual(never);
    expect(stateOf({ state: "RETIRED", reason: "drained", terminated: signed })).toEqual(never);
  });
});
