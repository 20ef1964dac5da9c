import { Fault } from "@godwit/common/fault";
import { FakeClock } from "@godwit/testing";
import { describe, expect, test } from "vitest";
import { type HostPrices, Scanner, type ScanTarget } from "./scanner.ts";

const never = new AbortController().signal;
const target = (name: string): ScanTarget => ({ hostId: name, grpcAddress: `${name}.example:1` });

/** Hosts that answer after a while, by name. */
class FakeHosts implements HostPrices {
  asking = 0;
  mostAsking = 0;
  readonly #clock: FakeClock;
  readonly #answer: (name: string) => { afterMs: number; hostId?: string; price?: bigint; error?: unknown };

  constructor(
    clock: FakeClock,
    answer: (name: string) => { afterMs: number; hostId?: string; price?: bigint; error?: unknown },
  ) {
    this.#clock = clock;
    this.#answer = answer;
  }

  async ask({ hostId: name }: ScanTarget, signal: AbortSignal) {
    this.mostAsking = Math.max(this.mostAsking, ++this.asking);
    try {
      const { afterMs, hostId = name, price = 1n, error } = this.#answer(name);
      await this.#clock.sleep(afterMs, signal);
      if (error !== undefined) throw error;
      return { hostId, pricePerSecond: price };
    } finally {
      this.asking--;
    }
  }
}

describe("Scanner", () => {
  test("each host has its own time, all are asked at once, and whoever does not answer is missing with the reason", async () => {
    const clock = new FakeClock();
    const refused = new Fault({ code: "PEER_UNREACHABLE", hostId: "down", reason: "connection refused" });
    const hosts = new FakeHosts(clock, (name) => {
      if (name === "slow") return { afterMs: 60_000 };
      if (name === "down") return { afterMs: 1, error: refused };
      if (name === "liar") return { afterMs: 1, hostId: "somebody-else" };
      if (name === "greedy") return { afterMs: 1, price: 2n ** 63n };
      return { afterMs: 10, price: name === "cheap" ? 1n : 5n };
    });
    const scanner = new Scanner({ hosts, clock }, { concurrency: 64 });
    const targets = ["dear", "slow", "down", "cheap", "liar", "greedy"].map(target);
    const before = clock.monotonicMs();
    const scan = await clock.run(scanner.scan(targets, 5_000, never));
    expect(clock.monotonicMs() - before).toBe(5_000);
    expect(scan.answers.map(({ hostId, pricePerSecond }) => [hostId, pricePerSecond])).toEqual([
      ["cheap", 1n],
      ["dear", 5n],
    ]);
    expect(scan.missing.map(({ hostId, fault }) => [hostId, fault.code])).toEqual([
      ["down", "PEER_UNREACHABLE"],
      ["greedy", "INVALID_ARGUMENT"],
      ["liar", "PEER_UNREACHABLE"],
      ["slow", "DEADLINE_EXCEEDED"],
    ]);
    expect(scan.missing.find(({ hostId }) => hostId === "liar")?.fault.message).toContain(
      "answers as host somebody-else",
    );
  });

  test("no more are asked at once than allowed, and all are asked in the end", async () => {
    const clock = new FakeClock();
    const hosts = new FakeHosts(clock, () => ({ afterMs: 10 }));
    const scanner = new Scanner({ hosts, clock }, { concurrency: 4 });
    const targets = Array.from({ length: 30 }, (_, i) => target(`host-${i}`));
    const scan = await clock.run(scanner.scan(targets, 1_000, never));
    expect(scan.answers).toHaveLength(30);
    expect(hosts.mostAsking).toBe(4);
  });

  test("the caller's abort ends it with that reason, and nobody is left being asked", async () => {
    const clock = new FakeClock();
    const hosts = new FakeHosts(clock, () => ({ afterMs: 60_000 }));
    const scanner = new Scanner({ hosts, clock }, { concurrency: 2 });
    const caller = new AbortController();
    const scan = scanner.scan(["a", "b", "c"].map(target), 5_000, caller.signal);
    await clock.untilSleeping(2, never);
    caller.abort(new Error("the caller has gone"));
    await expect(scan).rejects.toThrow("the caller has gone");
    await clock.advance(0);
    expect(hosts.asking).toBe(0);
  });

  test("nobody to ask is an empty scan", async () => {
    const clock = new FakeClock();
    const scanner = new Scanner({ hosts: new FakeHosts(clock, () => ({ afterMs: 1 })), clock }, { concurrency: 4 });
    expect(await scanner.scan([], 1_000, never)).toEqual({ answers: [], missing: [] });
  });

  test("what is no fault is a bug and is not hidden in the list of the missing", async () => {
    const clock = new FakeClock();
    const hosts = new FakeHosts(clock, () => ({ afterMs: 1, error: new TypeError("x is undefined") }));
    const scan = new Scanner({ hosts, clock }, { concurrency: 1 }).scan([target("a")], 1_000, never);
    await expect(clock.run(scan)).rejects.toThrow(TypeError);
  });
});
