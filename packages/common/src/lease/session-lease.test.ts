import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type ClockReading,
  covers,
  type LeaseEvent,
  type LeaseRules,
  marginMs,
  needsRenewal,
  openLease,
  remainingMs,
  type SessionLease,
  stepLease,
} from "./session-lease.ts";

const rules: LeaseRules = { durationMs: 10_000, graceMs: 2_000, renewEveryMs: 3_000 };
const wallAtZero = 1_700_000_000_000;
const at = (monotonicMs: number, wallAheadMs = 0): ClockReading => ({
  monotonicMs,
  wallMs: wallAtZero + monotonicMs + wallAheadMs,
});
const renewed = (sentAt: ClockReading, incarnation = "inc"): LeaseEvent => ({
  kind: "renewed",
  incarnation,
  sentAt,
  rules,
});
const grant = { incarnation: "inc" };
const opened = openLease("inc", at(0), rules);

describe("the deadline", () => {
  test("SL-3: counts from before the request was sent, however late the answer came, less the margin", () => {
    expect(remainingMs(opened, at(0))).toBe(9_750);
    expect(covers(opened, grant, at(9_749))).toBe(true);
    expect(covers(opened, grant, at(9_750))).toBe(false);
    const late = stepLease(opened, renewed(at(4_000))); // answered at 9000, say
    expect(remainingMs(late, at(9_000))).toBe(4_750);
  });

  test("§11: the margin is 250 ms, or 2 % of the duration if that is more", () => {
    expect([marginMs(500), marginMs(12_500), marginMs(30_000)]).toEqual([250, 250, 600]);
    const long = openLease("inc", at(0), { ...rules, durationMs: 60_000 });
    expect(remainingMs(long, at(0))).toBe(58_800);
  });

  test("SL-3: passes before any registry can close the session, also when the clocks' rates differ by less than the margin", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 500, max: 300_000 }),
        fc.integer({ min: 0, max: 60_000 }),
        fc.nat({ max: 5_000 }),
        fc.double({ min: -0.019, max: 0.019, noNaN: true }),
        (durationMs, graceMs, travelMs, drift) => {
          // The registry applies the renewal after it was sent, and sees its generation after that.
          const lease = openLease("inc", at(0), { ...rules, durationMs, graceMs });
          const closedOnOurClock = travelMs + (durationMs + graceMs) * (1 + drift);
          expect(remainingMs(lease, at(closedOnOurClock))).toBe(0);
        },
      ),
    );
  });
});

describe("a renewal", () => {
  test("SL-4: that is answered late makes the lease live again", () => {
    expect(covers(opened, grant, at(11_000))).toBe(false);
    const lease = stepLease(opened, renewed(at(10_500)));
    expect(covers(lease, grant, at(11_000))).toBe(true);
    expect(remainingMs(lease, at(11_000))).toBe(9_250);
  });

  test("SL-3: whose answer was overtaken changes nothing: the one that was sent last counts", () => {
    const newest = stepLease(opened, renewed(at(6_000)));
    expect(stepLease(newest, renewed(at(3_000)))).toEqual(newest);
  });

  test("SL-5: takes the session's settings from the answer", () => {
    const lease = stepLease(opened, { ...renewed(at(3_000)), rules: { ...rules, durationMs: 20_000 } } as LeaseEvent);
    expect(remainingMs(lease, at(3_000))).toBe(19_600);
  });

  test("§11: is due when the newest answered request is old enough, or the clocks jumped; never when void", () => {
    expect(needsRenewal(opened, rules, at(2_999))).toBe(false);
    expect(needsRenewal(opened, rules, at(3_000))).toBe(true);
    expect(needsRenewal(opened, rules, at(100, 60_000))).toBe(true);
    expect(needsRenewal({ kind: "void" }, rules, at(100_000))).toBe(false);
  });
});

describe("a jump between monotonic and wall time", () => {
  test.each([
    ["the machine was suspended and its monotonic clock stood still", 251],
    ["the wall clock was set forward", 3_600_000],
    ["the wall clock was set back", -251],
    ["the monotonic clock ran while the wall clock stood still", -3_600_000],
  ])("SL-3: counts as the deadline having passed when %s", (_, aheadMs) => {
    expect(covers(opened, grant, at(1_000, aheadMs))).toBe(false);
    expect(remainingMs(opened, at(1_000, aheadMs))).toBe(0);
  });

  test.each([250, -250])("SL-3: is none while they are %i ms apart", (aheadMs) => {
    expect(covers(opened, grant, at(1_000, aheadMs))).toBe(true);
  });

  test("SL-3: is over only with the answer to a renewal that was sent after it", () => {
    const sentBefore = stepLease(opened, renewed(at(1_000)));
    expect(covers(sentBefore, grant, at(2_000, 5_000))).toBe(false);
    const sentAfter = stepLease(sentBefore, renewed(at(2_000, 5_000)));
    expect(covers(sentAfter, grant, at(2_500, 5_000))).toBe(true);
    expect(covers(sentAfter, grant, at(2_500))).toBe(false); // and it jumped back
  });
});

describe("GA-1: a lease of another incarnation", () => {
  test("GA-1: lends nothing to a grant, whichever of the two is newer", () => {
    expect(covers(opened, { incarnation: "another" }, at(1))).toBe(false);
    const brought = stepLease(opened, renewed(at(5_000), "after the loss"));
    expect(covers(brought, grant, at(5_001))).toBe(false);
    expect(covers(brought, { incarnation: "after the loss" }, at(5_001))).toBe(true);
  });

  test("GA-1: is not undone by a late answer of the incarnation before", () => {
    const brought = stepLease(opened, renewed(at(5_000), "after the loss"));
    expect(stepLease(brought, renewed(at(3_000)))).toEqual(brought);
  });
});

describe("void", () => {
  test("SL-2: is for ever: no renewal that is still on its way brings the lease back", () => {
    const lost = stepLease(opened, { kind: "refused" });
    expect(lost).toEqual({ kind: "void" });
    expect(stepLease(lost, renewed(at(1_000)))).toEqual({ kind: "void" });
    expect(stepLease(lost, renewed(at(1_000), "another"))).toEqual({ kind: "void" });
    expect(covers(lost, grant, at(1))).toBe(false);
    expect(remainingMs(lost, at(1))).toBe(0);
  });
});

test("SL-3: in whatever order answers arrive, the lease is that of the request that was sent last", () => {
  const distinct = fc.uniqueArray(fc.integer({ min: 1, max: 60_000 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(distinct, fc.nat({ max: 70_000 }), (sentAt, now) => {
      const lease = sentAt.reduce<SessionLease>((before, ms) => stepLease(before, renewed(at(ms))), opened);
      const newest = Math.max(...sentAt);
      expect(covers(lease, grant, at(now))).toBe(now < newest + rules.durationMs - 250);
    }),
  );
});
