import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decideMark,
  isNewest,
  type MarkFacts,
  type QuarantineLook,
  type QuarantineWatch,
  rememberMark,
  type SeenMark,
  type StoreMark,
  watchQuarantine,
  withoutQuarantine,
} from "./mark.ts";

const mark: StoreMark = { incarnation: "a", counter: 5n, storeIdentity: "store 1", quarantine: false };
const verified = (changes: Partial<StoreMark> = {}) => ({ kind: "verified", mark: { ...mark, ...changes } }) as const;
const facts: MarkFacts = {
  stored: verified(),
  liveIdentity: "store 1",
  seen: [{ incarnation: "a", counter: 5n }],
  founding: false,
  forgotUnder: undefined,
  newIncarnation: "new",
  nowSeconds: 3n,
};
const decided = (changes: Partial<MarkFacts>) => decideMark({ ...facts, ...changes });
const replaced = (because: string, counter: bigint, storeIdentity = "store 1") => ({
  kind: "replace",
  because,
  mark: { incarnation: "new", counter, storeIdentity, quarantine: true },
});

describe("the mark that a registry finds", () => {
  test("GA-6: a right one is adopted, whoever wrote it, in quarantine or out of it", () => {
    expect(decided({})).toEqual({ kind: "adopt", mark });
    expect(decided({ seen: [] })).toEqual({ kind: "adopt", mark });
    expect(decided({ stored: verified({ quarantine: true }) })).toMatchObject({ kind: "adopt" });
    expect(decided({ seen: [{ incarnation: "older", counter: 4n }] })).toMatchObject({ kind: "adopt" });
  });

  test("§2: a missing one means a new store only where the key is being made and nobody has seen one under it", () => {
    const created = {
      kind: "create",
      mark: { incarnation: "new", counter: 0n, storeIdentity: "store 1", quarantine: false },
    };
    expect(decided({ stored: { kind: "none" }, founding: true, seen: [] })).toEqual(created);
    expect(decided({ stored: { kind: "none" }, founding: true })).toEqual(replaced("mark-gone", 6n));
    expect(decided({ stored: { kind: "none" }, seen: [] })).toEqual(replaced("mark-gone", 3n));
  });

  test("GA-6: gone, of another store, or not above all others that were seen: a new one in quarantine", () => {
    expect(decided({ stored: { kind: "none" } })).toEqual(replaced("mark-gone", 6n));
    expect(decided({ liveIdentity: "store 2" })).toEqual(replaced("other-store", 6n, "store 2"));
    expect(decided({ seen: [{ incarnation: "z", counter: 9n }] })).toEqual(replaced("not-newest", 10n));
    expect(decided({ seen: [{ incarnation: "z", counter: 5n }] })).toEqual(replaced("not-newest", 6n));
  });

  test("GA-6: a generation or revision above the stored one says so too, of the incarnation under which it was named", () => {
    expect(decided({ forgotUnder: "a" })).toEqual(replaced("forgot", 6n));
    expect(decided({ forgotUnder: "an earlier one" })).toMatchObject({ kind: "adopt" });
  });

  test("GA-6: one of another key is refused, whatever else holds", () => {
    const stored = { kind: "foreign" } as const;
    for (const changes of [{}, { founding: true, seen: [] }, { forgotUnder: "a" }, { liveIdentity: "store 2" }]) {
      expect(decided({ stored, ...changes })).toEqual({ kind: "refuse" });
    }
  });

  test("GA-6: a new counter is at least the wall clock in whole seconds, and above every known one", () => {
    expect(decided({ stored: { kind: "none" }, nowSeconds: 1_700_000_000n })).toEqual(
      replaced("mark-gone", 1_700_000_000n),
    );
    const counters = fc.array(fc.bigInt({ min: 0n, max: 100n }), { maxLength: 5 });
    fc.assert(
      fc.property(counters, fc.bigInt({ min: 0n, max: 100n }), fc.bigInt({ min: 0n, max: 100n }), (shown, own, now) => {
        const seen = shown
          .map((counter, at) => ({ incarnation: `${at}`, counter }))
          .reduce(rememberMark, [] as readonly SeenMark[]);
        const decision = decided({
          stored: verified({ counter: own }),
          liveIdentity: "store 2",
          seen,
          nowSeconds: now,
        });
        if (decision.kind !== "replace") throw new Error(decision.kind);
        for (const counter of [...shown, own]) expect(decision.mark.counter).toBeGreaterThan(counter);
        expect(decision.mark.counter).toBeGreaterThanOrEqual(now);
        expect(
          decideMark({ ...facts, stored: { kind: "verified", mark: decision.mark }, liveIdentity: "store 2", seen })
            .kind,
        ).toBe("adopt");
      }),
      { seed: 20_501 },
    );
  });
});

describe("marks that were seen", () => {
  test("GA-6: only the newest are kept, and two of one counter are enough", () => {
    const all = fc.array(
      fc.record({ incarnation: fc.constantFrom("a", "b", "c"), counter: fc.bigInt({ min: 0n, max: 4n }) }),
    );
    fc.assert(
      fc.property(
        all,
        fc.record({ incarnation: fc.constantFrom("a", "b", "c"), counter: fc.bigInt({ min: 0n, max: 4n }) }),
        (shown, one) => {
          const kept = shown.reduce(rememberMark, [] as readonly SeenMark[]);
          expect(kept.length).toBeLessThanOrEqual(2);
          expect(isNewest(one, kept)).toBe(isNewest(one, shown));
        },
      ),
      { seed: 20_502, numRuns: 500 },
    );
  });
});

describe("the end of a quarantine", () => {
  const rules = { quarantineMs: 12_000, maxGapMs: 2_000 };
  const quarantine = { ...mark, quarantine: true };
  const run = (looks: readonly (Partial<QuarantineLook> & { readonly answeredAtMs: number })[]) => {
    let watch: QuarantineWatch | undefined;
    return looks.map((one) => {
      const step = watchQuarantine(watch, { mark: quarantine, askedAtMs: one.answeredAtMs, ...one }, rules);
      watch = step.watch;
      return step.over;
    });
  };
  const every = (ms: number, until: number, from = 0) =>
    Array.from({ length: (until - from) / ms + 1 }, (_, at) => ({ answeredAtMs: from + at * ms }));

  test("GA-6: comes after this very mark was watched for the quarantine length", () => {
    const looks = run(every(500, 12_000));
    expect(looks.slice(0, -1)).not.toContain(true);
    expect(looks.at(-1)).toBe(true);
  });

  test("GA-6: a registry that has just started, was paused, or sees another mark, watches anew", () => {
    expect(run([{ answeredAtMs: 1_000_000 }])).toEqual([false]);
    expect(run([...every(500, 11_500), { answeredAtMs: 14_000 }, { answeredAtMs: 14_500 }]).at(-1)).toBe(false);
    const changed = every(500, 13_000, 6_000).map((one) => ({ ...one, mark: { ...quarantine, incarnation: "b" } }));
    expect(run([...every(500, 5_500), ...changed])).not.toContain(true);
    const raised = every(500, 13_000, 6_000).map((one) => ({ ...one, mark: { ...quarantine, counter: 6n } }));
    expect(run([...every(500, 5_500), ...raised])).not.toContain(true);
  });

  test("GA-6: a slow answer makes no watch longer than it was", () => {
    expect(run([{ answeredAtMs: 0, askedAtMs: -20_000 }, ...every(500, 11_500, 500)])).not.toContain(true);
    expect(run([...every(500, 11_500), { askedAtMs: 11_500, answeredAtMs: 13_000 }]).at(-1)).toBe(false);
  });

  test("GA-6: a mark out of quarantine is not watched, and is the same mark", () => {
    expect(watchQuarantine(undefined, { mark, askedAtMs: 0, answeredAtMs: 99_000 }, rules)).toEqual({
      watch: undefined,
      over: false,
    });
    expect(withoutQuarantine(quarantine)).toEqual(mark);
  });
});
