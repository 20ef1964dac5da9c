import { describe, expect, test } from "vitest";
import { FakeClock } from "./fake-clock.ts";

const never = () => new AbortController().signal;

describe("FakeClock", () => {
  test("FC-1 time stands still until it is moved, and cannot be moved back", async () => {
    const clock = new FakeClock({ monotonicMs: 5 });
    await new Promise((resolve) => setImmediate(resolve));
    expect(clock.monotonicMs()).toBe(5);
    expect(() => clock.advance(-1)).toThrow(RangeError);
    expect(() => clock.advance(Number.NaN)).toThrow(RangeError);
  });

  test("FC-2 each sleeper wakes at exactly its deadline, those of one deadline in their order", async () => {
    const clock = new FakeClock({ monotonicMs: 0 });
    const woken: string[] = [];
    const sleep = (name: string, ms: number) =>
      clock.sleep(ms, never()).then(() => woken.push(`${name}@${clock.monotonicMs()}`));
    const all = Promise.all([sleep("c", 30), sleep("a", 10), sleep("b", 10)]);
    await clock.advance(100);
    await all;
    expect(woken).toEqual(["a@10", "b@10", "c@30"]);
    expect(clock.monotonicMs()).toBe(100);
  });

  test("FC-2 whoever lies down meanwhile wakes in the same move if it is due", async () => {
    const clock = new FakeClock({ monotonicMs: 0 });
    const beats: number[] = [];
    const stop = new AbortController();
    const loop = (async () => {
      for (;;) {
        await clock.sleep(10, stop.signal);
        beats.push(clock.monotonicMs());
      }
    })();
    await clock.advance(35);
    expect(beats).toEqual([10, 20, 30]);
    stop.abort(new Error("enough"));
    await expect(loop).rejects.toThrow("enough");
    expect(clock.sleeping).toBe(0);
  });

  test("FC-3 wall time jumps apart from monotonic time", async () => {
    const clock = new FakeClock({ wall: new Date(10_000), monotonicMs: 0 });
    clock.jumpWall(-4_000);
    expect([clock.now().getTime(), clock.monotonicMs()]).toEqual([6_000, 0]);
    await clock.advance(500);
    expect(clock.now().getTime()).toBe(6_500);
    clock.setWall(new Date(99_000));
    expect([clock.now().getTime(), clock.monotonicMs()]).toEqual([99_000, 500]);
  });

  test("moves that overlap follow one another", async () => {
    const clock = new FakeClock({ monotonicMs: 0 });
    await Promise.all([clock.advance(10), clock.advance(5)]);
    expect(clock.monotonicMs()).toBe(15);
  });

  test("a test can wait for sleepers instead of for time", async () => {
    const clock = new FakeClock();
    const seen = clock.untilSleeping(2, never());
    const first = clock.sleep(1, never());
    const second = clock.sleep(1, never());
    await seen;
    await clock.advance(1);
    await Promise.all([first, second]);

    const caller = new AbortController();
    const waiting = clock.untilSleeping(1, caller.signal);
    caller.abort(new Error("gave up"));
    await expect(waiting).rejects.toThrow("gave up");
  });

  test("run goes from deadline to deadline until the work is over, and passes on its failure", async () => {
    const clock = new FakeClock({ monotonicMs: 0 });
    const work = async () => {
      await clock.sleep(1_000, never());
      await clock.sleep(60_000, never());
      return clock.monotonicMs();
    };
    expect(await clock.run(work())).toBe(61_000);
    await expect(clock.run(clock.sleep(1, never()).then(() => Promise.reject(new Error("no"))))).rejects.toThrow("no");
    expect(await clock.advanceToNext()).toBe(false);
  });
});
