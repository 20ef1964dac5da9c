import { describe, expect, test } from "vitest";
import { assertSingleOwner, type CommittedTick, checkSingleOwner, type HistoryEvent } from "./single-owner.ts";

const tick = (hostId: string, major: number, at: number, digest?: string): CommittedTick => ({
  kind: "committed",
  agentId: "agent",
  hostId,
  era: 0n,
  major: BigInt(major),
  tick: BigInt(at),
  ...(digest === undefined ? {} : { digest }),
});
const rollback = (major: number, fromTick: number): HistoryEvent => ({
  kind: "rollback",
  agentId: "agent",
  era: 0n,
  major: BigInt(major),
  fromTick: BigInt(fromTick),
});

describe("checkSingleOwner", () => {
  test("a planned move and a crash that lost nothing can be, in whatever order they were seen", () => {
    const history = [tick("b", 1, 3), tick("a", 0, 1), tick("a", 0, 2), tick("a", 0, 2), tick("c", 2, 4)];
    expect(checkSingleOwner(history)).toEqual([]);
    expect(() => assertSingleOwner(history)).not.toThrow();
  });

  test("EI-1 two hosts in one major, also with different ticks", () => {
    expect(checkSingleOwner([tick("a", 0, 1), tick("b", 0, 2)])).toEqual([
      "agent agent, era 0, major 0: committed by a and b",
    ]);
  });

  test("EI-1 a tick committed again under the next major", () => {
    expect(checkSingleOwner([tick("a", 0, 1), tick("a", 0, 2), tick("b", 1, 2)])).toEqual([
      "agent agent, era 0, major 1: tick 2 was committed before, and no rollback is marked",
    ]);
  });

  test("EI-10 a tick that was left out, unless ticks can have been missed", () => {
    const history = [tick("a", 0, 1), tick("b", 1, 3)];
    expect(checkSingleOwner(history)).toEqual(["agent agent, era 0, major 1: tick 3 follows tick 1"]);
    expect(checkSingleOwner(history, { seen: "some-ticks" })).toEqual([]);
  });

  test("EI-3 two checkpoints of one tick", () => {
    expect(checkSingleOwner([tick("a", 0, 1, "aa"), tick("a", 0, 1), tick("a", 0, 1, "bb")])).toEqual([
      "agent agent, era 0, major 0: tick 1 has two checkpoints, aa and bb",
    ]);
  });

  test("a marked rollback may repeat ticks, from exactly its base", () => {
    const before = [tick("a", 0, 1), tick("a", 0, 2), tick("a", 0, 3)];
    expect(checkSingleOwner([...before, rollback(1, 1), tick("b", 1, 2)])).toEqual([]);
    expect(checkSingleOwner([...before, rollback(1, 1), tick("b", 1, 1)])).toHaveLength(1);
    expect(checkSingleOwner([...before, rollback(1, 1), tick("b", 1, 3)])).toHaveLength(1);
  });

  test("after a rollback the lineage goes on from where the rollback led, not from what was given up", () => {
    const history = [
      tick("a", 0, 1),
      tick("a", 0, 2),
      tick("a", 0, 3),
      rollback(1, 1),
      tick("b", 1, 2),
      tick("c", 2, 3),
    ];
    expect(checkSingleOwner(history)).toEqual([]);
  });

  test("eras order majors; agents are told apart", () => {
    const later: CommittedTick = { ...tick("b", 0, 2), era: 5n };
    const other: CommittedTick = { ...tick("b", 0, 1), agentId: "other" };
    expect(checkSingleOwner([tick("a", 7, 1), later, other])).toEqual([]);
  });

  test("assertSingleOwner throws with every offence", () => {
    const history = [tick("a", 0, 1), tick("b", 0, 1), tick("c", 1, 1)];
    expect(() => assertSingleOwner(history)).toThrow(/committed by a and b\n.*committed before/);
  });
});
