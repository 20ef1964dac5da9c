import { describe, expect, test } from "vitest";
import { MachineClock, SimProcess } from "./sim-process.ts";
import { Timeline } from "./timeline.ts";

function started({ rate = 1 } = {}) {
  const timeline = new Timeline();
  const machine = new MachineClock(timeline, { rate, monotonicMs: 1_000, wallMs: 50_000 });
  const process = new SimProcess("p", timeline, machine);
  const until = (ms: number) => {
    timeline.at(ms, () => {});
    return timeline.runUntil(() => timeline.nowMs >= ms);
  };
  return { timeline, machine, process, until };
}

const signal = () => new AbortController().signal;

describe("a simulated process", () => {
  test("sleeps by its own machine's clock, which has its own rate", async () => {
    const { timeline, process, until } = started({ rate: 1.01 });
    let wokeAtMs = 0;
    void process.clock.sleep(1_010, signal()).then(() => {
      wokeAtMs = timeline.nowMs;
    });
    await until(2_000);
    expect(wokeAtMs).toBeCloseTo(1_000, 6);
    expect(process.clock.monotonicMs()).toBeCloseTo(1_000 + 2_020, 6);
  });

  test("never wakes before its time, by however little: a loop that sleeps until a moment ends (two of ten thousand seeds hung)", async () => {
    const { timeline, process, until } = started({ rate: 1.0000137 });
    let late = 0;
    const loop = async () => {
      for (let moment = 0; moment < 2_000; moment++) {
        const dueMs = process.clock.monotonicMs() + 1 / 3 + moment / 7;
        while (process.clock.monotonicMs() < dueMs) {
          await process.clock.sleep(dueMs - process.clock.monotonicMs(), signal());
          if (process.clock.monotonicMs() < dueMs) late++;
        }
      }
    };
    void loop();
    await until(290_000);
    expect([late, timeline.nowMs]).toEqual([0, 290_000]);
  });

  test("that is stopped does nothing, and what waited happens in order when it goes on", async () => {
    const { timeline, process, until } = started();
    const seen: string[] = [];
    void process.clock.sleep(10, signal()).then(() => seen.push(`a@${timeline.nowMs}`));
    void process.clock.sleep(20, signal()).then(() => seen.push(`b@${timeline.nowMs}`));
    process.stop();
    await until(100);
    expect(seen).toEqual([]);
    process.resume();
    await until(101);
    expect(seen).toEqual(["a@100", "b@100"]);
  });

  test("that is dead never goes on, and tells what hangs on it", async () => {
    const { process, until } = started();
    let ended = 0;
    process.onEnd(() => ended++);
    void process.clock.sleep(10, signal()).then(() => expect.unreachable());
    process.defer(() => expect.unreachable());
    process.kill();
    process.resume();
    await until(50);
    expect([ended, process.alive]).toEqual([1, false]);
  });

  test("on a machine that was suspended wakes later by as much, while wall time went on", async () => {
    const { timeline, machine, process, until } = started();
    let wokeAtMs = 0;
    void process.clock.sleep(30, signal()).then(() => {
      wokeAtMs = timeline.nowMs;
    });
    await until(10);
    machine.suspended(5);
    await until(100);
    expect(wokeAtMs).toBeCloseTo(35, 6);
    expect(process.clock.now().getTime()).toBe(50_100);
    expect(process.clock.monotonicMs()).toBeCloseTo(1_095, 6);
  });
});
