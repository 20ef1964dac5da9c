import { describe, expect, test } from "vitest";
import type { SessionId } from "./record.ts";
import { type ClockReading, openLease, stepLease } from "./session-lease.ts";
import {
  type Doubt,
  IllegalStep,
  mayTick,
  revertHandoff,
  stepTenure,
  type Tenure,
  type TenureEvent,
  type TenureGrant,
  untrusted,
} from "./tenure.ts";

const session: SessionId = { hostId: "host-a", bootId: "boot-1" };
const term = (major: bigint, era = 0n): TenureGrant => ({ era, major, session, incarnation: "inc" });
const rules = { durationMs: 10_000, graceMs: 2_000, renewEveryMs: 3_000 };
const at = (monotonicMs: number): ClockReading => ({ monotonicMs, wallMs: 1_700_000_000_000 + monotonicMs });
const lease = openLease("inc", at(0), rules);

const granted = (major: bigint, baseConfirmed = true): TenureEvent => ({
  kind: "granted",
  grant: term(major),
  baseConfirmed,
});
const freeze: TenureEvent = { kind: "freeze", handoffId: "handoff" };
const relinquished: TenureEvent = { kind: "relinquished" };
const reverted: TenureEvent = { kind: "reverted" };
const confirmed: TenureEvent = { kind: "base-confirmed" };
const migrated: TenureEvent = { kind: "retired", why: "migrated" };
const doubt = (why: Doubt): TenureEvent => ({ kind: "doubt", doubt: why });

const after = (...events: readonly TenureEvent[]): Tenure => events.reduce(stepTenure, untrusted);
const right = (tenure: Tenure, now = 1) => {
  const answer = mayTick(tenure, lease, session, at(now));
  return answer.kind === "may" ? "may" : answer.because;
};

const active = after(granted(3n));
const initiated = after(granted(3n), freeze);
const pending = after(granted(3n), freeze, relinquished);

describe("the right to tick", () => {
  test("GA-1: is there in ACTIVE_OWNER, under this session's grant, with a confirmed base and a live lease", () => {
    expect(right(active)).toBe("may");
  });

  test.each([
    ["a restarted host, whatever it finds on its disk", untrusted],
    ["a host whose agent is frozen for a handoff", initiated],
    ["a host that has relinquished", pending],
    ["a host in doubt", after(granted(3n), doubt("lost-grant"))],
    ["a host that gave the agent up", after(granted(3n), migrated)],
  ])("GA-1: is not there for %s", (_, tenure) => {
    expect(right(tenure)).toBe("not-owner");
  });

  test("GA-1: is not there under a grant of an earlier session, nor of another host's", () => {
    for (const now of [
      { ...session, bootId: "boot-2" },
      { ...session, hostId: "host-b" },
    ]) {
      expect(mayTick(active, lease, now, at(1))).toEqual({ kind: "may-not", because: "not-owner" });
    }
  });

  test("§4: is not there until the base is confirmed", () => {
    const recovered = after(granted(3n, false));
    expect(right(recovered)).toBe("base-unconfirmed");
    expect(right(stepTenure(recovered, confirmed))).toBe("may");
  });

  test("GA-2: ends with the lease, so that a tick which began before is not committed after", () => {
    expect(right(active, 9_749)).toBe("may");
    expect(right(active, 9_750)).toBe("lease-lapsed");
    const lost = stepLease(lease, { kind: "refused" });
    expect(mayTick(active, lost, session, at(1))).toEqual({ kind: "may-not", because: "lease-lapsed" });
  });

  test("GA-1: is lent by no lease of another incarnation, until the grant was given anew under it", () => {
    const brought = openLease("after the loss", at(0), rules);
    expect(mayTick(active, brought, session, at(1))).toEqual({ kind: "may-not", because: "lease-lapsed" });
    const grant = { ...term(3n), incarnation: "after the loss" };
    const anew = stepTenure(active, { kind: "granted", grant, baseConfirmed: true });
    expect(mayTick(anew, brought, session, at(1))).toEqual({ kind: "may" });
  });
});

describe("a handoff", () => {
  test("FS-1: that fails before relinquished gives the same term back", () => {
    expect(stepTenure(initiated, reverted)).toEqual(active);
    expect(revertHandoff(initiated)).toEqual(active);
  });

  test("GH-1: cannot be reverted once relinquished, nor later", () => {
    for (const tenure of [pending, stepTenure(pending, doubt("outcome-unknown")), stepTenure(pending, migrated)]) {
      expect(() => stepTenure(tenure, reverted)).toThrow(IllegalStep);
    }
  });

  test("GH-1: that was relinquished is followed by a newer term or by none", () => {
    const doubtful = stepTenure(pending, doubt("ambiguous-handoff"));
    for (const tenure of [pending, doubtful]) {
      expect(() => stepTenure(tenure, granted(3n))).toThrow(IllegalStep);
      expect(() => stepTenure(tenure, granted(2n))).toThrow(IllegalStep);
      expect(right(stepTenure(tenure, granted(4n)))).toBe("may");
    }
    const laterEra = { kind: "granted", grant: term(0n, 1n), baseConfirmed: true } as const;
    expect(right(stepTenure(pending, laterEra))).toBe("may");
  });

  test.each<[string, readonly TenureEvent[]]>([
    ["retired", [migrated]],
    ["retired and in doubt again", [migrated, doubt("lost-grant")]],
    ["owner of a newer term and in doubt about it", [granted(4n), doubt("session-void")]],
    ["owner of a newer term, in a handoff and in doubt", [granted(4n), freeze, doubt("ambiguous-handoff")]],
    ["owner of a newer term and retired", [granted(4n), { kind: "retired", why: "stopped" }]],
  ])("GH-1: a relinquished term is not taken up again by a host that is %s", (_, events) => {
    const tenure = events.reduce(stepTenure, pending);
    expect(tenure.relinquished).toEqual({ era: 0n, major: 3n });
    expect(() => stepTenure(tenure, granted(3n))).toThrow(IllegalStep);
  });

  test("GH-1: a host that restarts knows from its journal what it relinquished", () => {
    const restarted: Tenure = { ...untrusted, relinquished: { era: 0n, major: 3n } };
    expect(() => stepTenure(restarted, granted(3n))).toThrow(IllegalStep);
    expect(right(stepTenure(restarted, granted(4n)))).toBe("may");
  });

  test("FS-3: a second one is not begun, and none without a confirmed base", () => {
    for (const tenure of [initiated, pending, untrusted, after(granted(3n, false)), after(migrated)]) {
      expect(() => stepTenure(tenure, freeze)).toThrow(IllegalStep);
    }
  });

  test("GH-1: nothing is relinquished that was not frozen", () => {
    for (const tenure of [active, pending, untrusted, after(migrated)]) {
      expect(() => stepTenure(tenure, relinquished)).toThrow(IllegalStep);
    }
  });

  test("FS-3: nothing is granted while a handoff is open", () => {
    expect(() => stepTenure(initiated, granted(4n))).toThrow(IllegalStep);
  });
});

describe("doubt", () => {
  test.each<Doubt>(["outcome-unknown", "lost-grant"])(
    "§4: about %s ends with an answered revert, under the same term",
    (why) => {
      expect(stepTenure(stepTenure(active, doubt(why)), reverted)).toEqual(active);
      expect(stepTenure(stepTenure(initiated, doubt(why)), reverted)).toEqual(active);
      expect(stepTenure(after(granted(3n), doubt(why), doubt(why)), reverted)).toEqual(active);
    },
  );

  test.each<Doubt>(["restarted", "session-void", "ambiguous-handoff", "refused-after-token", "divergent-lineage"])(
    "EI-6: about %s has no way back but a new grant",
    (why) => {
      for (const before of [active, initiated, stepTenure(active, doubt("outcome-unknown"))]) {
        const tenure = stepTenure(before, doubt(why));
        expect(() => stepTenure(tenure, reverted)).toThrow(IllegalStep);
        expect(right(stepTenure(tenure, granted(4n)))).toBe("may");
      }
    },
  );

  test("§4: about a term whose base was never confirmed is not ended by a revert", () => {
    const tenure = after(granted(3n, false), doubt("outcome-unknown"));
    expect(() => stepTenure(tenure, reverted)).toThrow(IllegalStep);
  });

  test("§3: does not wake a host that has given the agent up", () => {
    const retired = after(granted(3n), { kind: "retired", why: "stopped" });
    expect(stepTenure(retired, doubt("session-void"))).toEqual(retired);
  });
});

describe("an owner", () => {
  test("I2: takes no grant of an older term than it has", () => {
    expect(() => stepTenure(active, granted(2n))).toThrow(IllegalStep);
    expect(right(stepTenure(active, granted(4n)))).toBe("may");
  });

  test("GH-1: hears no revert and no confirmation that it cannot have asked for", () => {
    expect(() => stepTenure(active, reverted)).toThrow(IllegalStep);
    for (const tenure of [untrusted, initiated, pending]) {
      expect(() => stepTenure(tenure, confirmed)).toThrow(IllegalStep);
    }
  });
});
