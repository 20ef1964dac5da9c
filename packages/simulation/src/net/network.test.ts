import { describe, expect, test } from "vitest";
import { Chance } from "../time/chance.ts";
import { MachineClock, SimProcess } from "../time/sim-process.ts";
import { Timeline } from "../time/timeline.ts";
import { streamPair } from "./byte-streams.ts";
import { Network } from "./network.ts";

function two() {
  const timeline = new Timeline();
  const network = new Network(timeline, new Chance(1), { leastMs: 1, mostMs: 2 });
  const [a, b] = ["a", "b"].map((name) => {
    const machine = new MachineClock(timeline, { rate: 1, monotonicMs: 0, wallMs: 0 });
    const process = new SimProcess(name, timeline, machine);
    network.place(process);
    return process;
  }) as [SimProcess, SimProcess];
  const until = (ms: number) => {
    timeline.at(ms, () => {});
    return timeline.runUntil(() => timeline.nowMs >= ms);
  };
  return { timeline, network, a, b, until };
}

const bytes = (text: string) => {
  const data = new TextEncoder().encode(text);
  return { subarray: () => data } as unknown as Uint8Array;
};

describe("the network", () => {
  test("a message is never early, and none arrives through a cut before that is healed", async () => {
    const { network, until } = two();
    const seen: string[] = [];
    network.send({ from: "a", to: "b", deliver: () => void seen.push("first") });
    network.cut("a", "b");
    for (let i = 0; i < 20; i++) network.send({ from: "a", to: "b", deliver: () => void seen.push("cut") });
    network.send({ from: "b", to: "a", deliver: () => void seen.push("back") });
    await until(1_000);
    expect(seen.toSorted()).toEqual(["back", "first"]);
    network.heal("a", "b");
    await until(2_000);
    const late = seen.filter((what) => what === "cut").length;
    expect(late).toBe(network.counts.late);
    expect(late + network.counts.lost).toBe(20);
    expect(late).toBeGreaterThan(0);
    expect(late).toBeLessThan(20);
  });

  test("what is for the former process of a name does not reach the next one", async () => {
    const { timeline, network, b, until } = two();
    network.send({ from: "a", to: "b", toProcess: b, deliver: () => expect.unreachable() });
    b.kill();
    network.place(new SimProcess("b", timeline, new MachineClock(timeline, { rate: 1, monotonicMs: 0, wallMs: 0 })));
    await until(100);
  });

  test("a stream keeps its order over a cut, and is reset at the byte that was chosen", async () => {
    const { network, a, b, until } = two();
    let cuts = 0;
    const pair = streamPair(network, { process: a }, { process: b }, { bytesLeft: 10, onCut: () => cuts++ });
    let heard = "";
    let closed: unknown;
    pair.far.addEventListener("message", ({ data }) => {
      heard += new TextDecoder().decode(data.subarray());
    });
    pair.far.addEventListener("close", ({ error }) => {
      closed = error;
    });
    network.cut("a", "b");
    pair.near.send(bytes("abc"));
    pair.near.send(bytes("def"));
    await until(100);
    expect(heard).toBe("");
    network.heal("a", "b");
    await until(200);
    expect(heard).toBe("abcdef");
    pair.near.send(bytes("ghijkl"));
    await until(300);
    expect(heard).toBe("abcdefghij");
    expect([cuts, pair.near.status, pair.far.status]).toEqual([1, "reset", "reset"]);
    expect(closed).toBeInstanceOf(Error);
  });
});
