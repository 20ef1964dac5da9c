import { describe, expect, test } from "vitest";
import { isFault } from "../fault/index.ts";
import { deadlineSignal, systemClock, withDeadline } from "./index.ts";
import { SteppedClock } from "./stepped-clock.ts";

const never = () => new Promise<never>(() => {});
const anySignal = () => new AbortController().signal;

describe("system clock", () => {
  test("a sleep lasts at least as long as was asked for", async () => {
    const before = systemClock.monotonicMs();
    await systemClock.sleep(5, anySignal());
    expect(systemClock.monotonicMs() - before).toBeGreaterThanOrEqual(5);
  });

  test("a sleep ends at once with the reason of its signal", async () => {
    const controller = new AbortController();
    const sleeping = systemClock.sleep(60_000, controller.signal);
    controller.abort(new Error("stop"));
    await expect(sleeping).rejects.toThrow("stop");
    await expect(systemClock.sleep(1, AbortSignal.abort(new Error("before")))).rejects.toThrow("before");
  });

  test("a sleep of a year does not end at once, as a bare timer would", async () => {
    const controller = new AbortController();
    const year = systemClock.sleep(365 * 86_400_000, controller.signal);
    const first = await Promise.race([year.then(() => "year"), systemClock.sleep(5, anySignal()).then(() => "5 ms")]);
    expect(first).toBe("5 ms");
    controller.abort(new Error("stop"));
    await expect(year).rejects.toThrow("stop");
  });
});

describe("deadline", () => {
  test("GH-8: work that does not end is given up at the deadline, with a fault that says what was waited for", async () => {
    const clock = new SteppedClock();
    let seen: AbortSignal | undefined;
    const error = await clock
      .run(
        withDeadline(clock, { what: "STARTED", ms: 10_000, signal: anySignal() }, (signal) => {
          seen = signal;
          return never();
        }),
      )
      .catch((reason: unknown) => reason);
    if (!isFault(error, "DEADLINE_EXCEEDED")) throw error;
    expect(error.detail).toEqual({ code: "DEADLINE_EXCEEDED", what: "STARTED", afterMs: 10_000 });
    expect(clock.monotonicMs()).toBe(10_000);
    expect(seen?.reason).toBe(error);
  });

  test("work that ends in time leaves no timer behind", async () => {
    const clock = new SteppedClock();
    await expect(withDeadline(clock, { what: "x", ms: 10, signal: anySignal() }, async () => 7)).resolves.toBe(7);
    expect(clock.sleeping).toBe(0);
    const failing = withDeadline(clock, { what: "x", ms: 10, signal: anySignal() }, () => {
      throw new Error("synchronous");
    });
    await expect(failing).rejects.toThrow("synchronous");
    expect(clock.sleeping).toBe(0);
  });

  test("the caller's abort ends the work at once with the caller's reason", async () => {
    const clock = new SteppedClock();
    const controller = new AbortController();
    const work = withDeadline(clock, { what: "x", ms: 10, signal: controller.signal }, never);
    controller.abort(new Error("enough"));
    await expect(work).rejects.toThrow("enough");
    expect(clock.sleeping).toBe(0);
  });

  test("work is not started when the caller has aborted already", async () => {
    let started = false;
    const work = withDeadline(
      new SteppedClock(),
      { what: "x", ms: 10, signal: AbortSignal.abort(new Error("before")) },
      async () => {
        started = true;
      },
    );
    await expect(work).rejects.toThrow("before");
    expect(started).toBe(false);
  });

  test("a signal that was disposed of never aborts", async () => {
    const clock = new SteppedClock();
    const controller = new AbortController();
    const limited = deadlineSignal(clock, { what: "x", ms: 10, signal: controller.signal });
    limited[Symbol.dispose]();
    await clock.step();
    controller.abort();
    expect(limited.signal.aborted).toBe(false);
  });
});
