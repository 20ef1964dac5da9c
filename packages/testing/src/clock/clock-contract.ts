import type { Clock } from "@godwit/common/clock";
import { describe, expect, test } from "vitest";

export interface ClockUnderTest {
  readonly clock: Clock;
  /** Lets `ms` pass: a fake clock is moved, with the machine's clock one waits. */
  readonly pass: (ms: number) => Promise<void>;
}

/** What every Clock keeps. `make` is called anew for each test. */
export function describeClockContract(name: string, make: () => ClockUnderTest): void {
  describe(`${name} keeps the contract of Clock`, () => {
    const never = () => new AbortController().signal;

    test("monotonic time never goes back and moves by what passed", async () => {
      const { clock, pass } = make();
      const before = clock.monotonicMs();
      const readings = Array.from({ length: 100 }, () => clock.monotonicMs());
      expect(readings).toEqual([...readings].sort((a, b) => a - b));
      await pass(20);
      expect(clock.monotonicMs() - before).toBeGreaterThanOrEqual(20);
    });

    test("wall time moves along", async () => {
      const { clock, pass } = make();
      const before = clock.now().getTime();
      await pass(50);
      expect(clock.now().getTime() - before).toBeGreaterThanOrEqual(45);
    });

    test("a sleep never ends before its time, by the clock's own reading", async () => {
      const { clock, pass } = make();
      const before = clock.monotonicMs();
      const slept = clock.sleep(20, never()).then(() => clock.monotonicMs() - before);
      await pass(25);
      expect(await slept).toBeGreaterThanOrEqual(20);
    });

    test("a sleep of 0 or less ends without time passing, but not at once", async () => {
      const { clock } = make();
      for (const ms of [0, -5]) {
        let ended = false;
        const sleep = clock.sleep(ms, never()).then(() => {
          ended = true;
        });
        expect(ended).toBe(false);
        await sleep;
      }
    });

    test("sleepers wake in the order of their deadlines", async () => {
      const { clock, pass } = make();
      const woken: number[] = [];
      const sleeps = [60, 5, 30].map((ms) => clock.sleep(ms, never()).then(() => woken.push(ms)));
      await pass(70);
      await Promise.all(sleeps);
      expect(woken).toEqual([5, 30, 60]);
    });

    test("an abort ends a sleep with the signal's reason, without time passing", async () => {
      const { clock } = make();
      const caller = new AbortController();
      const reason = new Error("no longer wanted");
      const sleep = clock.sleep(3_600_000, caller.signal);
      caller.abort(reason);
      await expect(sleep).rejects.toBe(reason);
    });

    test("a signal that is aborted already refuses the sleep, also one of 0", async () => {
      const { clock } = make();
      const reason = new Error("too late");
      const signal = AbortSignal.abort(reason);
      await expect(clock.sleep(1_000, signal)).rejects.toBe(reason);
      await expect(clock.sleep(0, signal)).rejects.toBe(reason);
    });

    test("an abort after the end changes nothing", async () => {
      const { clock, pass } = make();
      const caller = new AbortController();
      const sleep = clock.sleep(5, caller.signal);
      await pass(10);
      await sleep;
      caller.abort(new Error("after the end"));
      await expect(sleep).resolves.toBeUndefined();
    });
  });
}
