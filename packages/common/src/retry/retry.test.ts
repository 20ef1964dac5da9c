import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SteppedClock } from "../clock/stepped-clock.ts";
import { Fault, isFault } from "../fault/index.ts";
import {
  ClassifiedFault,
  checkRetryPolicy,
  DEFAULT_RETRY_POLICY,
  delaysMs,
  FAILURE_CLASSES,
  type FailureClass,
  failureError,
  failureOf,
  RetryBudget,
  type RetryRules,
  retry,
} from "./index.ts";

const busy = (failureClass: FailureClass = "retriable") =>
  new ClassifiedFault(failureClass, { code: "TARGET_BUSY", hostId: "h" });

function setUp(overrides: Partial<RetryRules> = {}) {
  const clock = new SteppedClock();
  const rules: RetryRules = {
    what: "the migration",
    policy: DEFAULT_RETRY_POLICY,
    clock,
    random: () => 0.5,
    signal: new AbortController().signal,
    deadlineMs: 60_000,
    ...overrides,
  };
  return { clock, rules };
}

const policies = fc
  .record({ attempts: fc.integer({ min: 1, max: 50 }), firstDelayMs: fc.nat(5_000), more: fc.nat(60_000) })
  .map(({ attempts, firstDelayMs, more }) => ({ attempts, firstDelayMs, maxDelayMs: firstDelayMs + more }));

describe("retry policy", () => {
  test("section 11: three attempts, one second, doubling, thirty at most", () => {
    expect(DEFAULT_RETRY_POLICY).toEqual({ attempts: 3, firstDelayMs: 1_000, maxDelayMs: 30_000 });
    expect([...delaysMs({ ...DEFAULT_RETRY_POLICY, attempts: 8 }, () => 1)]).toEqual([
      1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000,
    ]);
  });

  test("GH-6: a delay is anything from nothing to min(max, first * 2^retry), one for each retry", () => {
    fc.assert(
      fc.property(
        policies,
        fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        (policy, draws) => {
          const delays = [...delaysMs(policy, () => draws.pop() ?? 0.999)];
          expect(delays.length).toBe(policy.attempts - 1);
          for (const [retry, delay] of delays.entries()) {
            expect(delay).toBeGreaterThanOrEqual(0);
            expect(delay).toBeLessThanOrEqual(Math.min(policy.maxDelayMs, policy.firstDelayMs * 2 ** retry));
          }
        },
      ),
    );
  });

  test.each([
    ["attempts", { attempts: 0 }],
    ["attempts", { attempts: 1.5 }],
    ["attempts", { attempts: Number.NaN }],
    ["attempts", { attempts: 1e9 }],
    ["firstDelayMs", { firstDelayMs: -1 }],
    ["firstDelayMs", { firstDelayMs: Number.NaN }],
    ["maxDelayMs", { maxDelayMs: 999 }],
    ["maxDelayMs", { maxDelayMs: Number.POSITIVE_INFINITY }],
  ])("section 11: a policy with a wrong %s is refused: %o", (field, wrong) => {
    try {
      checkRetryPolicy({ ...DEFAULT_RETRY_POLICY, ...wrong });
    } catch (error) {
      if (!isFault(error, "INVALID_ARGUMENT")) throw error;
      expect(error.detail.field).toBe(field);
      return;
    }
    throw new Error("accepted");
  });
});

describe("failure classes", () => {
  test("GH-2: a class is given at birth and survives being carried as data", () => {
    for (const failureClass of FAILURE_CLASSES) {
      const failure = failureOf(busy(failureClass));
      expect(failure).toEqual({ class: failureClass, fault: { code: "TARGET_BUSY", hostId: "h" } });
      if (failure !== undefined) expect(failureOf(failureError(failure))).toEqual(failure);
    }
  });

  test("GH-2: an error without a class has none, whatever its text says", () => {
    expect(failureOf(new Error("retriable"))).toBeUndefined();
    expect(failureOf(new Fault({ code: "TARGET_BUSY", hostId: "h" }))).toBeUndefined();
  });

  test("GH-2: a classified failure is still the fault that it is", () => {
    const error: unknown = busy("ambiguous");
    expect(isFault(error, "TARGET_BUSY")).toBe(true);
  });
});

describe("retry", () => {
  test("GH-6: a retriable failure is tried again after its delay, and the success is the result", async () => {
    const retries: number[] = [];
    const { clock, rules } = setUp({ onRetry: ({ delayMs }) => retries.push(delayMs) });
    const result = retry(async (_, number) => {
      if (number < 3) throw busy();
      return `attempt ${number}`;
    }, rules);
    expect(await clock.run(result)).toBe("attempt 3");
    expect(retries).toEqual([500, 1_000]);
    expect(clock.monotonicMs()).toBe(1_500);
    expect(clock.sleeping).toBe(0);
  });

  test("GH-6: never more attempts than the policy allows, and the last error is the result", async () => {
    await fc.assert(
      fc.asyncProperty(policies, async (policy) => {
        const { clock, rules } = setUp({ policy, deadlineMs: 1e9 });
        let attempts = 0;
        const failing = retry(async () => {
          attempts++;
          throw new ClassifiedFault("retriable", { code: "TARGET_BUSY", hostId: `${attempts}` });
        }, rules);
        await expect(clock.run(failing)).rejects.toMatchObject({ detail: { hostId: `${policy.attempts}` } });
        expect(attempts).toBe(policy.attempts);
        expect(clock.sleeping).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  test.each(["fatal-target", "fatal-migration", "ambiguous"] as const)("GH-2: %s is not tried again", async (born) => {
    const { clock, rules } = setUp();
    let attempts = 0;
    const failing = retry(async () => {
      attempts++;
      throw busy(born);
    }, rules);
    await expect(clock.run(failing)).rejects.toMatchObject({ class: born });
    expect(attempts).toBe(1);
  });

  test("an error without a class is a bug: thrown as it is, at once", async () => {
    const { clock, rules } = setUp();
    const failing = retry(async () => {
      throw new TypeError("x is undefined");
    }, rules);
    await expect(clock.run(failing)).rejects.toThrow(TypeError);
    expect(clock.monotonicMs()).toBe(0);
  });

  test("what is worth another try can be told by the caller", async () => {
    const { clock, rules } = setUp({ retriable: (error) => isFault(error, "NOT_READY") });
    const result = retry(async (_, number) => {
      if (number === 1) throw new Fault({ code: "NOT_READY", reason: "starting" });
      return number;
    }, rules);
    expect(await clock.run(result)).toBe(2);
  });

  test("GH-6: an abort during the back-off ends it at once, with the caller's reason", async () => {
    const controller = new AbortController();
    const { clock, rules } = setUp({
      signal: controller.signal,
      onRetry: () => controller.abort(new Error("shutting down")),
    });
    const failing = retry(async () => {
      throw busy();
    }, rules);
    await expect(clock.run(failing)).rejects.toThrow("shutting down");
    expect(clock.monotonicMs()).toBe(0);
    expect(clock.sleeping).toBe(0);
  });

  test("GH-6: an abort during an attempt reaches the attempt and ends the whole", async () => {
    const controller = new AbortController();
    const { clock, rules } = setUp({ signal: controller.signal });
    const failing = retry((signal) => clock.sleep(5_000, signal), rules);
    controller.abort(new Error("shutting down"));
    await expect(clock.run(failing)).rejects.toThrow("shutting down");
    expect(clock.monotonicMs()).toBe(0);
  });

  test("FS-2: an attempt that was aborted after its point of no return stays ambiguous", async () => {
    const controller = new AbortController();
    const { clock, rules } = setUp({ signal: controller.signal });
    const failing = retry(async () => {
      controller.abort(new Error("shutting down"));
      throw busy("ambiguous");
    }, rules);
    await expect(clock.run(failing)).rejects.toMatchObject({ class: "ambiguous" });
  });

  test("an aborted caller gets not even one attempt", async () => {
    const { clock, rules } = setUp({ signal: AbortSignal.abort(new Error("before")) });
    let attempts = 0;
    const failing = retry(async () => attempts++, rules);
    await expect(clock.run(failing)).rejects.toThrow("before");
    expect(attempts).toBe(0);
  });

  test("GH-6: attempts, delays and their sum never outlast the deadline", async () => {
    await fc.assert(
      fc.asyncProperty(policies, fc.nat(20_000), fc.nat(2_000), async (policy, deadlineMs, attemptMs) => {
        const { clock, rules } = setUp({ policy, deadlineMs });
        const failing = retry(async (signal) => {
          await clock.sleep(attemptMs, signal);
          throw busy();
        }, rules);
        await expect(clock.run(failing)).rejects.toBeInstanceOf(Fault);
        expect(clock.monotonicMs()).toBeLessThanOrEqual(deadlineMs);
        expect(clock.sleeping).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  test("GH-8: at the deadline the fault says what was tried, and keeps the last error as its cause", async () => {
    const { clock, rules } = setUp({ deadlineMs: 900 });
    const error = await clock
      .run(
        retry(async () => {
          throw busy();
        }, rules),
      )
      .catch((reason: unknown) => reason);
    if (!isFault(error, "DEADLINE_EXCEEDED")) throw error;
    expect(error.detail.what).toBe("the migration");
    expect(isFault(error.cause, "TARGET_BUSY")).toBe(true);
  });

  test("GH-6: a target whose retry budget is used up is not hammered", async () => {
    const budget = { of: new RetryBudget(), target: "h" };
    const { clock, rules } = setUp({ policy: { ...DEFAULT_RETRY_POLICY, attempts: 100 }, deadlineMs: 1e9, budget });
    let attempts = 0;
    const failing = retry(async () => {
      attempts++;
      throw busy();
    }, rules);
    const error = await clock.run(failing).catch((reason: unknown) => reason);
    expect(isFault(error, "RETRY_BUDGET_EXHAUSTED")).toBe(true);
    expect(failureOf(error)?.class).toBe("retriable");
    expect(attempts).toBe(11);
  });
});

describe("retry budget", () => {
  test("section 11: ten tokens, one per retry, a tenth back per success", () => {
    const budget = new RetryBudget();
    const spend = () => Array.from({ length: 20 }, () => budget.tryRetry("h")).filter((granted) => granted).length;
    expect(spend()).toBe(10);
    for (let i = 0; i < 9; i++) budget.succeeded("h");
    expect(budget.tryRetry("h")).toBe(false);
    budget.succeeded("h");
    expect(spend()).toBe(1);
  });

  test("I10: retries multiply load by at most 1.1, whatever fails", () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 2_000 }), (successes) => {
        const budget = new RetryBudget();
        let retries = 0;
        for (const success of successes) {
          if (success) budget.succeeded("h");
          else if (budget.tryRetry("h")) retries++;
        }
        expect(retries).toBeLessThanOrEqual(10 + successes.filter((success) => success).length * 0.1);
      }),
    );
  });

  test("targets do not pay for each other, and a target that recovered is forgotten", () => {
    const budget = new RetryBudget();
    while (budget.tryRetry("bad"));
    expect(budget.tryRetry("good")).toBe(true);
    expect(budget.size).toBe(2);
    for (let i = 0; i < 10; i++) budget.succeeded("good");
    expect(budget.size).toBe(1);
  });

  test("a bounded number of targets is kept, those that were used last", () => {
    const budget = new RetryBudget({ tokens: 1, successesPerToken: 10, maxTargets: 3 });
    for (const target of ["a", "b", "c", "a", "d"]) budget.tryRetry(target);
    expect(budget.size).toBe(3);
    expect(budget.tryRetry("a")).toBe(false);
    expect(budget.tryRetry("b")).toBe(true);
  });
});
