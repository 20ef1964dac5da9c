// GA-8: what a host may bring over to a new incarnation, and what it must not.

import { describe, expect, test } from "vitest";
import type { SessionId } from "./record.ts";
import {
  type ClockReading,
  noticeLapse,
  openLease,
  reassertsFrom,
  type SessionLease,
  stepLease,
} from "./session-lease.ts";
import {
  IllegalStep,
  mayReassert,
  mayTake,
  mayTick,
  stepTenure,
  type Tenure,
  type TenureEvent,
  untrusted,
} from "./tenure.ts";

const session: SessionId = { hostId: "host", bootId: "1" };
const rules = { durationMs: 10_000, graceMs: 2_000, renewEveryMs: 3_000 };
const at = (ms: number, wallAheadMs = 0): ClockReading => ({
  monotonicMs: ms,
  wallMs: 1_700_000_000_000 + ms + wallAheadMs,
});
const opened = openLease("a", at(0), rules);
const renewed = (ms: number, incarnation = "a") => ({ kind: "renewed", incarnation, sentAt: at(ms), rules }) as const;
const reasserted = (ms: number, incarnation = "b") =>
  ({ kind: "reasserted", incarnation, sentAt: at(ms), rules }) as const;

describe("a session that is brought over", () => {
  test("GA-8: while its deadline has not passed, and then it says from where it came", () => {
    expect(reassertsFrom(opened, "b", at(9_000))).toBe("a");
    const brought = stepLease(opened, reasserted(9_000));
    expect(brought).toMatchObject({ incarnation: "b", from: "a", deadlineMs: 9_000 + 9_750 });
    expect(reassertsFrom(brought, "b", at(12_000)), "the next batch, under the lease that the first renewed").toBe("a");
  });

  test("GA-8: not at or after the deadline, nor after a jump of the clocks, though they should jump back", () => {
    expect(reassertsFrom(opened, "b", at(9_750))).toBeUndefined();
    expect(reassertsFrom(opened, "b", at(100, 5_000))).toBeUndefined();
    const noticed = noticeLapse(opened, at(100, 5_000));
    expect(reassertsFrom(noticed, "b", at(200))).toBeUndefined();
  });

  test("GA-8: a lapse is made good by a renewal under the old incarnation, and by nothing else", () => {
    const lapsed = noticeLapse(opened, at(9_800));
    expect(reassertsFrom(stepLease(lapsed, renewed(9_900)), "b", at(10_000))).toBe("a");
    const brought = stepLease(lapsed, reasserted(9_900));
    expect(reassertsFrom(brought, "b", at(10_000))).toBeUndefined();
    expect(reassertsFrom(stepLease(brought, renewed(10_000, "b")), "b", at(10_100))).toBeUndefined();
  });

  test("GA-8: a lapse after it was brought over ends the bringing over as well", () => {
    const brought = stepLease(opened, reasserted(5_000));
    const late = stepLease(noticeLapse(brought, at(14_800)), renewed(14_900, "b"));
    expect(late).toMatchObject({ kind: "open", from: "a", lapsed: true });
    expect(reassertsFrom(late, "b", at(15_000))).toBeUndefined();
    expect(
      reassertsFrom(stepLease(brought, renewed(14_900, "b")), "b", at(15_000)),
      "sent after the deadline",
    ).toBeUndefined();
    expect(reassertsFrom(stepLease(brought, renewed(14_000, "b")), "b", at(15_000))).toBe("a");
  });

  test("GA-8: over two losses it comes from the one before, and from nowhere else", () => {
    const twice = stepLease(stepLease(opened, reasserted(1_000)), reasserted(2_000, "c"));
    expect(reassertsFrom(twice, "c", at(2_100))).toBe("b");
  });

  test("GA-8: a lease that was renewed under another incarnation without a reassert brings nothing over", () => {
    expect(reassertsFrom(stepLease(opened, renewed(1_000, "b")), "b", at(1_100))).toBeUndefined();
    expect(reassertsFrom({ kind: "void" }, "b", at(1))).toBeUndefined();
    expect(reassertsFrom(opened, "a", at(1)), "nothing was lost").toBeUndefined();
  });
});

const grant = (major = 3n, incarnation = "a") => ({ era: 0n, major, session, incarnation });
const granted = (major = 3n, baseConfirmed = true): TenureEvent => ({
  kind: "granted",
  grant: grant(major),
  baseConfirmed,
});
const freeze: TenureEvent = { kind: "freeze", handoffId: "h" };
const sending = (command: (TenureEvent & { kind: "sending" })["command"]): TenureEvent => ({
  kind: "sending",
  command,
});
const after = (...events: readonly TenureEvent[]): Tenure => events.reduce(stepTenure, untrusted);
const may = (
  tenure: Tenure,
  changes: { lease?: SessionLease; session?: SessionId; now?: number; to?: string } = {},
) => {
  const { now = 1_000, ...rest } = changes;
  const right = mayReassert(tenure, { lease: opened, session, to: "b", now: at(now), ...rest });
  return right.kind === "may" ? "may" : right.because;
};

describe("a grant that is brought over", () => {
  test.each<[string, Tenure]>([
    ["that ticks", after(granted())],
    ["whose base is not confirmed", after(granted(3n, false))],
    ["that is frozen, before it was relinquished", after(granted(), freeze)],
    ["that was lost from sight, and may be reverted", after(granted(), freeze, { kind: "doubt", doubt: "lost-grant" })],
    ["that was recovered after it was given up", after(granted(3n), sending("recover"), granted(4n))],
  ])("GA-8: may be that of an agent %s", (_, tenure) => {
    expect(may(tenure)).toBe("may");
  });

  test.each(["release", "recover", "declare_recovery", "terminate"] as const)(
    "GA-8: never once %s was sent for it, whatever came of that",
    (command) => {
      expect(may(after(granted(), sending(command)))).toBe("given-up");
      const doubt: TenureEvent = { kind: "doubt", doubt: "outcome-unknown" };
      expect(may(after(granted(), sending(command), doubt))).toBe("given-up");
      expect(may(after(granted(), sending(command), doubt, { kind: "reverted" }))).toBe("given-up");
      expect(may(after(granted(), doubt, sending(command)))).toBe("given-up");
    },
  );

  test("GA-8: never after a relinquish token was signed under it, nor when the host holds none", () => {
    expect(may(after(granted(), freeze, { kind: "relinquished" }))).toBe("given-up");
    expect(may(after(granted(), freeze, { kind: "relinquished" }, { kind: "doubt", doubt: "ambiguous-handoff" }))).toBe(
      "no-grant",
    );
    expect(may(untrusted)).toBe("no-grant");
    expect(may(after(granted(), { kind: "retired", why: "migrated" }))).toBe("no-grant");
  });

  test("GA-8: only of this session, of the very incarnation it comes from, before the deadline", () => {
    const tenure = after(granted());
    expect(may(tenure, { session: { ...session, bootId: "2" } })).toBe("another-session");
    expect(may(tenure, { now: 9_750 })).toBe("lease-lapsed");
    const twice = stepLease(stepLease(opened, reasserted(1_000)), reasserted(2_000, "c"));
    expect(may(tenure, { lease: twice, to: "c", now: 2_100 }), "it outlived two losses").toBe("another-incarnation");
    expect(may(tenure, { lease: stepLease(opened, reasserted(1_000)), now: 1_100 })).toBe("may");
  });

  test("GA-1: gives nothing until it was confirmed, and then the same right as before", () => {
    const brought = stepLease(opened, reasserted(1_000));
    const tick = (tenure: Tenure) => mayTick(tenure, brought, session, at(1_100)).kind;
    expect(tick(after(granted()))).toBe("may-not");
    const again: TenureEvent = { kind: "reasserted", grant: grant(3n, "b") };
    expect(tick(after(granted(), again))).toBe("may");
    expect(tick(after(granted(), freeze, again)), "the handoff is dead").toBe("may");
    expect(tick(after(granted(3n, false), again)), "§4: still unconfirmed").toBe("may-not");
  });

  test("GA-8: an answer for another term, another session or what was given up meanwhile is a bug of the caller", () => {
    const again = (major: bigint, by = session): TenureEvent => ({
      kind: "reasserted",
      grant: { ...grant(major, "b"), session: by },
    });
    for (const events of [
      [granted(), again(4n)],
      [granted(), again(3n, { ...session, bootId: "2" })],
      [granted(), sending("release"), again(3n)],
      [granted(), freeze, { kind: "relinquished" } as const, again(3n)],
      [again(3n)],
    ]) {
      expect(() => after(...events)).toThrow(IllegalStep);
    }
  });

  test("GA-8: no grant is taken that arrives for another incarnation than the lease's, or another session", () => {
    const brought = stepLease(opened, reasserted(1_000));
    expect(mayTake(grant(3n, "b"), brought, session)).toBe(true);
    expect(mayTake(grant(3n, "a"), brought, session)).toBe(false);
    expect(mayTake(grant(3n, "b"), brought, { ...session, bootId: "2" })).toBe(false);
    expect(mayTake(grant(3n, "b"), { kind: "void" }, session)).toBe(false);
  });
});
